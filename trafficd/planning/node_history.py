"""What is known of one node: a value a UTC day, and for some time a value a window.

Everything a planner says rests on these two, whichever engine they came from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from trafficd.planning.daily import Floats

Counts = npt.NDArray[np.uint16]
# Slots are kept for the longest billing period and the one before it.
SLOT_DAYS = 62


@dataclass(frozen=True)
class Pair:
    """One thing in both directions, over the same days or windows."""

    receive: Floats
    transmit: Floats

    def cut(self, part: slice) -> "Pair":
        """Return the same of *part* of the days or windows."""
        return Pair(self.receive[part], self.transmit[part])


@dataclass(frozen=True)
class Slots:
    """How many 5-minute slots of a day an uplink spent at which utilisation.

    Shape: receive[day, bucket] and transmit[day, bucket], day 0 is *first*; a bucket for each bound
    of schema.UTILISATION_BOUNDS, and each slot in one of them.
    """

    first: date
    receive: Counts
    transmit: Counts


@dataclass(frozen=True)
class NodeDays:
    """What a node's releases say of each UTC day that is over.

    Shape: every array has a value a day, day 0 is *first*; NaN where nothing is known of a day. A
    release at 00:00 belongs to the day that ends then.
    Units: *uplink*, *tunnel* and *classes* are bytes moved; *capacity* and *p95* are bits per
    second, capacity 0 where none is stated; *p95* is of the slots of a day, NaN without a capacity.
    *releases* is how many there were on the day, 0 if none. *last_release_at* is UTC seconds.
    """

    node: str
    location: str
    first: date
    window_seconds: int
    releases: Floats
    uplink: Pair
    tunnel: Pair
    classes: Mapping[str, Pair]
    capacity: Floats
    p95: Pair
    slots: Slots
    last_release_at: int
    # Whether it may still send; its history counts either way.
    is_active: bool = True

    @property
    def days(self) -> int:
        """How many days it has."""
        return len(self.releases)

    @property
    def last(self) -> date:
        """The last day; the one before *first* where there is none."""
        return self.first + timedelta(days=self.days - 1)

    def until(self, day: date) -> "NodeDays":
        """Return what was known at the end of *day*; slots that are not kept are gone."""
        count = min(self.days, max(0, (day - self.first).days + 1))
        part = slice(0, count)
        slot_days = max(0, (day - self.slots.first).days + 1)
        return replace(
            self,
            releases=self.releases[part],
            uplink=self.uplink.cut(part),
            tunnel=self.tunnel.cut(part),
            classes={name: pair.cut(part) for name, pair in self.classes.items()},
            capacity=self.capacity[part],
            p95=self.p95.cut(part),
            slots=Slots(
                self.slots.first,
                self.slots.receive[:slot_days],
                self.slots.transmit[:slot_days],
            ),
        )


@dataclass(frozen=True)
class NodeWindows:
    """What a node moved in each window of some time.

    Shape: every array has a value a window; window 0 begins at *first_at*, UTC seconds on the grid.
    NaN where the release at a window's beginning or that at its end is missing: what moved is known
    then, and not when.
    Units: bytes.
    """

    node: str
    location: str
    window_seconds: int
    first_at: int
    uplink: Pair
    tunnel: Pair

"""Nodes to plan with: days made of rates, and a history that holds them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from tests.planning.billed import BUCKETS
from trafficd.planning.daily import Floats
from trafficd.planning.node_history import SLOT_DAYS, NodeDays, NodeWindows, Pair, Slots

DAY = 24 * 60 * 60
GIGABIT = 1e9
FIRST = date(2024, 1, 1)
# Of what an uplink moves, the 95th percentile of a day's slots; as simple as can be.
PEAK = 1.25


def node(
    name: str,
    rates: Sequence[float] | Floats,
    *,
    location: str | None = None,
    capacity: float = 10 * GIGABIT,
    first: date = FIRST,
    transmit: float = 0.5,
) -> NodeDays:
    """Return a node that received at those mean rates, a day each, and sent *transmit* of that.

    Units: bits per second; NaN is a day of which nothing is known.
    """
    means = np.asarray(rates, float)
    days = len(means)
    moved = Pair(means * DAY / 8, transmit * means * DAY / 8)
    tunnel = Pair(moved.receive / 1.1, moved.transmit / 1.1)
    counted = min(days, SLOT_DAYS)
    counts = np.zeros((counted, BUCKETS), np.uint16)
    if capacity:
        known = np.nan_to_num(means[-counted:] if counted else means[:0])
        buckets = np.searchsorted(np.arange(0.05, 0.5, 0.05), PEAK * known / capacity)
        counts[np.arange(counted), buckets] = 288
    return NodeDays(
        node=name,
        location=location or name.partition("-")[0],
        first=first,
        window_seconds=3600,
        releases=np.where(np.isnan(means), 0.0, 24.0),
        uplink=moved,
        tunnel=tunnel,
        classes={"wireguard": tunnel},
        capacity=np.full(days, capacity),
        p95=Pair(PEAK * means, PEAK * transmit * means)
        if capacity
        else Pair(means * np.nan, means * np.nan),
        slots=Slots(first + timedelta(days=days - counted), counts, counts),
        last_release_at=at(first + timedelta(days=days)),
    )


def at(day: date) -> int:
    """Return when *day* begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


class Held:
    """A history of *nodes*, with windows of an hour in which as much moves as in any other."""

    def __init__(self, *nodes: NodeDays) -> None:
        self.nodes = nodes
        self.asked = 0

    def days(self, until: date) -> list[NodeDays]:
        self.asked += 1
        return [each.until(until) for each in self.nodes]

    def windows(self, since: int, until: int) -> list[NodeWindows]:
        return [self._windows(each, since, until) for each in self.nodes]

    def _windows(self, each: NodeDays, since: int, until: int) -> NodeWindows:
        grid = np.arange(since, until, 3600)
        number = grid // DAY - at(each.first) // DAY
        is_held = (number >= 0) & (number < each.days)

        def spread(moved: Floats) -> Floats:
            found = np.full(len(grid), np.nan)
            found[is_held] = moved[number[is_held]] / 24
            return found

        uplink, tunnel = (
            Pair(spread(pair.receive), spread(pair.transmit)) for pair in (each.uplink, each.tunnel)
        )
        return NodeWindows(each.node, each.location, 3600, since, uplink, tunnel)


def renamed(each: NodeDays, **changes: object) -> NodeDays:
    """Return *each* with some things otherwise."""
    return replace(each, **changes)  # type: ignore[arg-type]

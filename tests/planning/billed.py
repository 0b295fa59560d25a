"""Nodes to bill: days with counted slots, and windows, made of rates."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np

from trafficd.planning.daily import Floats
from trafficd.planning.node_history import Counts, NodeDays, NodeWindows, Pair, Slots
from trafficd.planning.period import Period
from trafficd.schema import UTILISATION_PERCENTS

NAN = float("nan")
DAY = 24 * 60 * 60
BUCKETS = len(UTILISATION_PERCENTS) + 1
FIRST = date(2026, 4, 1)
APRIL = Period(int(datetime(2026, 4, 1, tzinfo=UTC).timestamp()), 1777593600)


def counts(rates: Sequence[float], capacity: float) -> Counts:
    """Return in which buckets the slots of a day are, asked of each bound in turn."""
    found = np.zeros(BUCKETS, np.uint16)
    for rate in rates:
        within = [100 * rate <= percent * capacity for percent in UTILISATION_PERCENTS]
        found[within.index(True) if any(within) else BUCKETS - 1] += 1
    return found


def node_windows(
    receive: Sequence[float] | Floats,
    transmit: Sequence[float] | Floats | None = None,
    *,
    node: str = "fra1",
    seconds: int = 300,
    first_at: int = APRIL.begin,
) -> NodeWindows:
    """Return windows with so many bytes each; as many out as in, if not said otherwise."""
    pair = Pair(
        np.array(receive, float), np.array(receive if transmit is None else transmit, float)
    )
    return NodeWindows(node, "fra", seconds, first_at, pair, pair)


def node_days(
    receive: Sequence[Counts],
    transmit: Sequence[Counts] | None = None,
    *,
    capacity: Sequence[float],
    uplink: Pair | None = None,
    tunnel: Pair | None = None,
    classes: Mapping[str, Pair] | None = None,
    first: date = FIRST,
    slots_from: int = 0,
) -> NodeDays:
    """Return days with those capacities, whose slots are counted from day *slots_from* on."""
    nothing = Pair(np.full(len(capacity), NAN), np.full(len(capacity), NAN))
    shape = (-1, BUCKETS)
    return NodeDays(
        node="fra1",
        location="fra",
        first=first,
        window_seconds=3600,
        releases=np.full(len(capacity), 24.0),
        uplink=uplink or nothing,
        tunnel=tunnel or nothing,
        classes=classes or {},
        capacity=np.array(capacity, float),
        p95=nothing,
        slots=Slots(
            first + timedelta(days=slots_from),
            np.array(receive, np.uint16).reshape(shape),
            np.array(receive if transmit is None else transmit, np.uint16).reshape(shape),
        ),
        last_release_at=APRIL.end,
    )

"""How uplinks are used in a period: how full, when, how evenly, and by what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trafficd.planning.billing import are_enough, counted_capacity, counted_days
from trafficd.planning.daily import Floats
from trafficd.planning.node_history import NodeDays, NodeWindows
from trafficd.planning.percentile import Numbers
from trafficd.planning.period import DAY_SECONDS, Period, day_number
from trafficd.planning.summed import Summed, sum_windows
from trafficd.schema import SLOT_SECONDS, UTILISATION_PERCENTS

# Bounds of the histogram, so that its counts tell them exactly.
THRESHOLD_PERCENTS = (50, 70, 80, 90)
_HOUR_SECONDS = 60 * 60
_HOURS = 24


@dataclass(frozen=True, slots=True)
class Ratios:
    """A ratio in each direction; None where it has none."""

    receive: float | None
    transmit: float | None


@dataclass(frozen=True)
class Full:
    """Which share of the slots seen was above each of THRESHOLD_PERCENTS of the capacity."""

    above: Mapping[int, Ratios]
    slots_seen: int


@dataclass(frozen=True, slots=True)
class BusyHour:
    """The hour of the UTC day in which most is moved, or why it cannot be told.

    Units: bits per second, of both directions together, on the days seen.
    """

    hour: int | None
    rate: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Overhead:
    """What uplinks carried over what tunnels did, less 1; None where tunnels moved nothing."""

    receive: float | None
    transmit: float | None
    both: float | None


@dataclass(frozen=True)
class Utilisation:
    """How the uplinks of one node or several are used in a period.

    *peak_to_mean* is the highest window's rate over that of all; *classes* are shares of what the
    tunnels moved.
    """

    full: Full
    busy_hour: BusyHour
    peak_to_mean: Ratios
    window_seconds: int
    overhead: Overhead
    classes: Mapping[str, float]


def utilisation(
    windows: Sequence[NodeWindows], nodes: Sequence[NodeDays], period: Period
) -> Utilisation:
    """Return how the uplinks of *nodes* are used; *windows* are of those that have some."""
    summed = sum_windows(windows, period)
    return Utilisation(
        full(windows, nodes, period),
        busy_hour(summed),
        peak_to_mean(summed),
        summed.window_seconds,
        overhead(nodes, period),
        class_mix(nodes, period),
    )


def full(windows: Sequence[NodeWindows], nodes: Sequence[NodeDays], period: Period) -> Full:
    """Return how full the slots of all nodes were, each of its own node's capacity on its day.

    They are a node's windows where those are as long, and nearly as many as its whole UTC days
    counted; else these.
    """
    slots = {each.node: each for each in windows if each.window_seconds == SLOT_SECONDS}
    seen, above = 0, np.zeros((2, len(THRESHOLD_PERCENTS)), np.int64)
    for days in nodes:
        more, more_above = _of_counts(days, period)
        if days.node in slots:
            known, known_above = _of_slots(sum_windows([slots[days.node]], period), days)
            if are_enough(known, more):
                more, more_above = known, known_above
        seen += more
        above += more_above
    return Full(
        {
            percent: Ratios(_ratio(float(receive), seen), _ratio(float(transmit), seen))
            for percent, receive, transmit in zip(THRESHOLD_PERCENTS, *above, strict=True)
        },
        seen,
    )


def busy_hour(summed: Summed) -> BusyHour:
    """Return the hour of the UTC day with the highest mean rate."""
    seconds = summed.window_seconds
    if _HOUR_SECONDS % seconds:
        return BusyHour(
            None, None, f"windows of {seconds // 60} minutes do not tell one hour from another"
        )
    rates = summed.rates.receive + summed.rates.transmit
    is_seen = ~np.isnan(rates)
    if not np.any(rates > 0):
        return BusyHour(None, None, "nothing moved in the windows that are known")
    at = summed.first_at + np.arange(len(rates)) * seconds
    hours = at // _HOUR_SECONDS % _HOURS
    count = np.bincount(hours[is_seen], minlength=_HOURS)
    moved = np.bincount(hours[is_seen], weights=rates[is_seen], minlength=_HOURS)
    mean = moved / np.maximum(count, 1)
    hour = int(np.argmax(mean))
    return BusyHour(hour, float(mean[hour]), "")


def peak_to_mean(summed: Summed) -> Ratios:
    """Return the highest window's rate over the mean of all, in each direction."""

    def ratio(moved: Floats) -> float | None:
        known = moved[~np.isnan(moved)]
        return _ratio(float(known.max()), float(known.mean())) if len(known) else None

    return Ratios(ratio(summed.moved.receive), ratio(summed.moved.transmit))


def overhead(nodes: Sequence[NodeDays], period: Period) -> Overhead:
    """Return what uplinks carried over what tunnels did, on days on which a node tells both."""
    carried, moved = np.zeros(2), np.zeros(2)
    for days in nodes:
        part = _days_within(days, period)
        uplink, tunnel = (
            np.array([pair.receive, pair.transmit])
            for pair in (days.uplink.cut(part), days.tunnel.cut(part))
        )
        is_known = ~np.isnan(uplink + tunnel).any(axis=0)
        carried += uplink[:, is_known].sum(axis=1)
        moved += tunnel[:, is_known].sum(axis=1)
    receive, transmit, both = (
        None if ratio is None else ratio - 1
        for ratio in (
            _ratio(float(carried[0]), float(moved[0])),
            _ratio(float(carried[1]), float(moved[1])),
            _ratio(float(carried.sum()), float(moved.sum())),
        )
    )
    return Overhead(receive, transmit, both)


def class_mix(nodes: Sequence[NodeDays], period: Period) -> dict[str, float]:
    """Return each class's share of what all of them moved, in both directions; empty if nothing.

    A day of which nothing is known of a class counts as nothing of it: it may be new.
    """
    moved: dict[str, float] = {}
    for days in nodes:
        part = _days_within(days, period)
        for name, pair in days.classes.items():
            found = float(np.nansum(pair.receive[part] + pair.transmit[part]))
            moved[name] = moved.get(name, 0.0) + found
    total = sum(moved.values())
    return {name: moved[name] / total for name in sorted(moved)} if total > 0 else {}


def _of_counts(days: NodeDays, period: Period) -> tuple[int, Numbers]:
    """Return how many slots a node counted, and above[direction, threshold] of them."""
    part, _ = counted_days(days, period)
    stated = counted_capacity(days, part) > 0
    counts = np.array(
        [
            each[part][stated].sum(axis=0, dtype=np.int64)
            for each in (days.slots.receive, days.slots.transmit)
        ]
    )
    first_above = [UTILISATION_PERCENTS.index(percent) + 1 for percent in THRESHOLD_PERCENTS]
    above = np.array([counts[:, first:].sum(axis=1) for first in first_above])
    return int(counts[0].sum()), above.T


def _of_slots(summed: Summed, days: NodeDays) -> tuple[int, Numbers]:
    """Return how many slots a node has with a capacity, and above[direction, threshold] of them."""
    moved = summed.moved
    at = summed.first_at + np.arange(len(moved.receive)) * summed.window_seconds
    number = at // DAY_SECONDS - day_number(days.first)
    is_held = (number >= 0) & (number < days.days)
    capacity = np.full(len(at), np.nan)
    capacity[is_held] = days.capacity[number[is_held]]
    is_seen = (capacity > 0) & ~np.isnan(moved.receive)
    carried = capacity[is_seen] * summed.window_seconds
    # Of whole numbers, as the reader does: a slot just at a threshold is not above it.
    above = [
        [
            np.count_nonzero(800 * each[is_seen] > percent * carried)
            for percent in THRESHOLD_PERCENTS
        ]
        for each in (moved.receive, moved.transmit)
    ]
    return int(np.count_nonzero(is_seen)), np.array(above, np.int64)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _days_within(days: NodeDays, period: Period) -> slice:
    """Return the UTC days that lie within *period*."""
    whole = period.whole(DAY_SECONDS)
    first = day_number(days.first)
    begin = max(0, whole.start - first)
    return slice(begin, max(begin, whole.stop - first))

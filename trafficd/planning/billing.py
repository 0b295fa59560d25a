"""The 95th percentiles of a billing period, and what they rest on.

What was seen of a period is measured first, as rates or as counts by utilisation; the percentiles,
and how many slots are above a commit, are read from that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

import numpy as np

from trafficd.planning.daily import Floats
from trafficd.planning.node_history import NodeDays, NodeWindows
from trafficd.planning.percentile import Buckets, Estimate, Method, Rates
from trafficd.planning.period import DAY_SECONDS, Period, day_number
from trafficd.planning.summed import Summed, sum_windows
from trafficd.schema import ROUNDING_BYTES, SLOT_SECONDS, Direction

_HOUR_SECONDS = 60 * 60
# What is known of each slot is exact, and worth some of them.
_ENOUGH_SLOTS = 0.9
_UNSEEN = "no slot of the period is known"
_SLOTS_A_DAY = DAY_SECONDS // SLOT_SECONDS


class Resolution(StrEnum):
    """What a percentile rests on."""

    SLOTS = "five-minute slots"
    HISTOGRAM = "daily histogram of five-minute slots"
    WINDOWS = "summed windows"


@dataclass(frozen=True)
class Measured:
    """What was seen of a period.

    *both* has the sum of both directions in each slot, None where only their counts are known.
    Slots are as long as *window_seconds*.
    """

    receive: Rates | Buckets
    transmit: Rates | Buckets
    both: Rates | None
    slots_seen: int
    slots_expected: int
    resolution: Resolution
    window_seconds: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """The sum of the percentiles of all parts.

    The percentile of the sum has no more where parts peak together, as traffic does. It may where
    they peak at different times, each in less than one slot of twenty: no part shows such peaks.
    Units: bits per second; None where that of a part is not known.
    """

    receive: float | None
    transmit: float | None
    both: float | None

    @property
    def highest(self) -> float | None:
        """The greater of both directions."""
        if self.receive is None or self.transmit is None:
            return None
        return max(self.receive, self.transmit)


@dataclass(frozen=True)
class Percentiles:
    """The 95th percentiles of a period; None where nothing was seen that has one.

    *both* is that of the sum of both directions in each slot. *upper* is there for what has parts:
    the nodes of a sum, and the directions where *both* is not known.
    """

    receive: Estimate | None
    transmit: Estimate | None
    both: Estimate | None
    upper: Bound | None
    slots_seen: int
    slots_expected: int
    resolution: Resolution
    window_seconds: int
    notes: tuple[str, ...]

    @property
    def highest(self) -> Estimate | None:
        """The greater of both directions, each ranked for itself."""
        if self.receive is None or self.transmit is None:
            return None
        return max(self.receive, self.transmit, key=lambda each: each.value)


def node_percentiles(
    windows: NodeWindows | None, days: NodeDays, period: Period, method: Method
) -> Percentiles:
    """Return the percentiles of a node."""
    found = _percentiles(node_measured(windows, days, period), method)
    if found.resolution is not Resolution.HISTOGRAM:
        return found
    receive, transmit = _value(found.receive), _value(found.transmit)
    return replace(found, upper=Bound(receive, transmit, _total([receive, transmit])))


def summed_percentiles(
    windows: Sequence[NodeWindows], period: Period, method: Method, own: Sequence[Percentiles]
) -> Percentiles:
    """Return the percentiles of the sum of nodes; *own* are those of each of them."""
    upper = Bound(
        _total([_value(each.receive) for each in own]),
        _total([_value(each.transmit) for each in own]),
        _total([each.upper.both if each.upper else _value(each.both) for each in own]),
    )
    return replace(_percentiles(summed_measured(windows, period), method), upper=upper)


def node_measured(windows: NodeWindows | None, days: NodeDays, period: Period) -> Measured:
    """Return what was seen of a node: its slots where its windows are as long, else its counts.

    Windows that were longer before show hardly any slots of the period, and its counts show all.
    """
    counted = _of_counts(days, period)
    if windows is not None and windows.window_seconds == SLOT_SECONDS:
        measured = _of_sums(sum_windows([windows], period), period, Resolution.SLOTS)
        if are_enough(measured.slots_seen, counted.slots_seen):
            return measured
    return counted


def are_enough(slots: int, counted: int) -> bool:
    """Return whether so many slots that are known tell more than counts of so many."""
    return slots >= _ENOUGH_SLOTS * counted


def was_there(days: NodeDays, period: Period) -> bool:
    """Return whether a node released anything on the UTC days that *period* is of."""
    first = day_number(days.first)
    begin, end = period.begin // DAY_SECONDS - first, -(-period.end // DAY_SECONDS) - first
    return bool(np.any(days.releases[max(0, begin) : max(0, end)] > 0))


def summed_measured(windows: Sequence[NodeWindows], period: Period) -> Measured:
    """Return what was seen of the sum of nodes."""
    return _of_sums(sum_windows(windows, period), period, Resolution.WINDOWS)


def counted_days(days: NodeDays, period: Period) -> tuple[slice, list[str]]:
    """Return which of the days with slots lie within *period*, and what to know of them.

    The counts move at 00:00 UTC: of a day that is partly in the period nothing is known. Those that
    were held back come with a later day, so the first ones may bring slots from before.
    """
    whole = period.whole(DAY_SECONDS)
    first = day_number(days.slots.first)
    begin = max(0, whole.start - first)
    end = max(begin, min(len(days.slots.receive), whole.stop - first))
    counted = days.slots.receive[begin:end].sum(axis=1, dtype=np.int64)
    room = _SLOTS_A_DAY * (np.arange(begin, end) + 1 - (whole.start - first))
    brought = np.flatnonzero(counted > room)
    if not len(brought):
        return slice(begin, end), []
    last = begin + int(brought[-1])
    day = days.slots.first + timedelta(days=last)
    note = f"the slots counted on {day} are from before the period too and left out"
    return slice(last + 1, end), [note]


def counted_capacity(days: NodeDays, part: slice) -> Floats:
    """Return the capacity on *part* of the days with slots, NaN where nothing is known of a day."""
    return _counted(days, part, days.capacity)


def _of_counts(days: NodeDays, period: Period) -> Measured:
    part, notes = counted_days(days, period)
    capacity = counted_capacity(days, part)
    pairs = (
        (days.slots.receive, days.uplink.receive),
        (days.slots.transmit, days.uplink.transmit),
    )
    receive, transmit = (
        Buckets.of(counts[part], capacity, _counted(days, part, moved)) for counts, moved in pairs
    )
    left_out = int(days.slots.receive[part].sum(dtype=np.int64)) - receive.total
    if left_out:
        notes.append(f"{left_out:,} slots are of days without a capacity and have no rate")
    return Measured(
        receive,
        transmit,
        None,
        receive.total,
        period.slots(),
        Resolution.HISTOGRAM,
        SLOT_SECONDS,
        tuple(notes),
    )


def _counted(days: NodeDays, part: slice, values: Floats) -> Floats:
    number = np.arange(part.start, part.stop) + (days.slots.first - days.first).days
    is_held = (number >= 0) & (number < days.days)
    found = np.full(len(number), np.nan)
    found[is_held] = values[number[is_held]]
    return found


def _of_sums(summed: Summed, period: Period, resolution: Resolution) -> Measured:
    rates = summed.rates
    is_seen = ~np.isnan(rates.receive)
    receive, transmit = rates.receive[is_seen], rates.transmit[is_seen]
    notes = list(summed.notes)
    error: float | None = None
    if summed.window_seconds != SLOT_SECONDS:
        longer = "this one reads lower still" if summed.window_seconds > _HOUR_SECONDS else ""
        notes.append(
            f"windows of {summed.window_seconds // 60} minutes even out peaks: an hourly p95 reads "
            f"about 0.7 to 1.5 % low on real traffic{longer and f', and {longer}'}"
        )
    elif not summed.held:
        # A total is rounded down, so what moved between two of them is off by less than a unit.
        error = summed.nodes * ROUNDING_BYTES * 8 / SLOT_SECONDS
    return Measured(
        Rates(receive, error),
        Rates(transmit, error),
        Rates(receive + transmit, None if error is None else 2 * error),
        len(receive),
        period.slots(summed.window_seconds),
        resolution,
        summed.window_seconds,
        tuple(notes),
    )


def _percentiles(measured: Measured, method: Method) -> Percentiles:
    found = [
        each.percentile(method) if each and measured.slots_seen else None
        for each in (measured.receive, measured.transmit, measured.both)
    ]
    above = [
        f"{direction}: above 100 % of the capacity; by how much is not known"
        for direction, each in zip(Direction, found, strict=False)
        if each and each.is_above_capacity
    ]
    receive, transmit, both = found
    return Percentiles(
        receive,
        transmit,
        both,
        None,
        measured.slots_seen,
        measured.slots_expected,
        measured.resolution,
        measured.window_seconds,
        (*measured.notes, *above, *(() if measured.slots_seen else (_UNSEEN,))),
    )


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _total(values: Sequence[float | None]) -> float | None:
    """Return the sum, or None where one of *values* is not known or there are none."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None

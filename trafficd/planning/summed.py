"""What several nodes moved together, a window at a time.

The sum of a window is known only where that of every node is that was there. A node is there from
its first release that is known to its last; one that has been silent for less than a day is late,
and not gone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from trafficd.planning.daily import Floats
from trafficd.planning.held import spread_held
from trafficd.planning.node_history import NodeWindows, Pair
from trafficd.planning.period import DAY_SECONDS, Period
from trafficd.schema import SLOT_SECONDS


@dataclass(frozen=True)
class Summed:
    """The sums of a period's windows.

    Shape: moved[window], window 0 begins at *first_at*, UTC seconds on the grid; NaN, in both
    directions, where a sum is not known.
    Units: bytes.
    """

    first_at: int
    window_seconds: int
    moved: Pair
    # How many nodes are in it, and how many of their windows had something held back.
    nodes: int
    held: int
    # What a person has to know of the nodes that are in it, and of those that are not.
    notes: tuple[str, ...]

    @property
    def rates(self) -> Pair:
        """The mean rate of each window, in bits per second."""
        seconds = self.window_seconds
        return Pair(self.moved.receive * 8 / seconds, self.moved.transmit * 8 / seconds)


@dataclass(frozen=True, slots=True)
class _Stay:
    """From which window of the common grid to which one a node was there."""

    windows: NodeWindows
    come: int
    gone: int


def sum_windows(windows: Sequence[NodeWindows], period: Period) -> Summed:
    """Return the sums of the windows that lie within *period*.

    The windows are the longest that any node has, or what all of theirs divide. What a node held
    back is spread first, so *windows* should begin before the period: a node is said to come where
    the first of its releases is known, and others were there before.
    """
    seconds = math.lcm(*(each.window_seconds for each in windows)) if windows else SLOT_SECONDS
    grid = period.whole(seconds)
    stays = [stay for each in windows if (stay := _stay(each, seconds))]
    first = min((stay.come for stay in stays), default=0)
    last = max((stay.gone for stay in stays), default=0)
    receive, transmit = np.zeros(len(grid)), np.zeros(len(grid))
    nodes = np.zeros(len(grid), np.int64)
    counted = held = 0
    for stay in stays:
        is_late = (last - stay.gone) * seconds < DAY_SECONDS
        there = _within(grid, range(stay.come, last if is_late else stay.gone))
        if there.start >= there.stop:
            continue
        moved, held_back = _moved(stay.windows, seconds, grid[there])
        receive[there] += moved.receive
        transmit[there] += moved.transmit
        nodes[there] += 1
        counted += 1
        held += held_back
    unknown = (nodes == 0) | np.isnan(receive) | np.isnan(transmit)
    receive[unknown] = transmit[unknown] = np.nan
    notes = [*_named(windows, stays, grid, seconds, first, last)]
    if held:
        notes.append(f"held back, and spread over the windows it was: {held:,} of single nodes")
    return Summed(
        grid.start * seconds, seconds, Pair(receive, transmit), counted, held, tuple(notes)
    )


def _stay(windows: NodeWindows, seconds: int) -> _Stay | None:
    known = np.flatnonzero(~np.isnan(windows.uplink.receive + windows.uplink.transmit))
    if not len(known):
        return None
    begin = windows.first_at + int(known[0]) * windows.window_seconds
    end = windows.first_at + (int(known[-1]) + 1) * windows.window_seconds
    return _Stay(windows, -(-begin // seconds), end // seconds)


def _within(grid: range, stay: range) -> slice:
    """Return the part of *grid* that a node was there in."""
    begin, end = max(grid.start, stay.start), min(grid.stop, stay.stop)
    return slice(begin - grid.start, max(begin, end) - grid.start)


def _moved(windows: NodeWindows, seconds: int, grid: range) -> tuple[Pair, int]:
    """Return what a node moved in each window of *grid*, and how many of its own it held back."""
    each = seconds // windows.window_seconds
    begin = grid.start * each - windows.first_at // windows.window_seconds
    count = len(grid) * each
    receive, transmit = (
        _part(spread_held(values), begin, count)
        for values in (windows.uplink.receive, windows.uplink.transmit)
    )
    was_nothing = _part(windows.uplink.receive + windows.uplink.transmit, begin, count) == 0
    held_back = int(np.count_nonzero(was_nothing & (receive + transmit > 0)))
    pair = (values.reshape(len(grid), each).sum(axis=1) for values in (receive, transmit))
    return Pair(*pair), held_back


def _part(values: Floats, begin: int, count: int) -> Floats:
    """Return *count* of *values* from *begin* on; NaN where there are none."""
    part = np.full(count, np.nan)
    first, end = max(0, begin), min(len(values), begin + count)
    if first < end:
        part[first - begin : end - begin] = values[first:end]
    return part


def _named(
    windows: Sequence[NodeWindows],
    stays: Sequence[_Stay],
    grid: range,
    seconds: int,
    first: int,
    last: int,
) -> list[str]:
    """Return a sentence each of the nodes that came, that left, and that nothing is known of."""
    came = {
        stay.windows.node: stay.come
        for stay in stays
        if stay.come > first and grid.start < stay.come < grid.stop
    }
    left = {
        stay.windows.node: stay.gone
        for stay in stays
        if (last - stay.gone) * seconds >= DAY_SECONDS and grid.start < stay.gone < grid.stop
    }
    sentences = [
        f"{what}: " + ", ".join(f"{node} at {_minute(at * seconds)}" for node, at in when.items())
        for what, when in (
            ("came inside the period and count from then on", came),
            ("left inside the period and count until then", left),
        )
        if when
    ]
    known = {stay.windows.node for stay in stays}
    unknown = [each.node for each in windows if each.node not in known]
    if unknown:
        sentences.append(f"nothing is known of any window of: {', '.join(unknown)}")
    return sentences


def _minute(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"

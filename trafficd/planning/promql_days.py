"""The days of nodes as PromQL tells them.

Of a day it is enough to know what the totals were at its end, where its run is that of the day
before. Where that is not sure, as on the day of a restart or after a gap, the day is read release
by release, and added up by the rule that a run begins at 0: what store_increase.py does.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from trafficd import schema
from trafficd.errors import HistoryError
from trafficd.planning.daily import Floats
from trafficd.planning.day_table import (
    BUCKET,
    CAPACITY,
    DAY_SECONDS,
    TUNNEL,
    UPLINK,
    Columns,
    DayTable,
    day_numbered,
)
from trafficd.planning.node_history import NodeDays
from trafficd.planning.promql_releases import (
    RELEASED,
    STARTED,
    Node,
    Releases,
    Table,
    among,
    pieces,
)
from trafficd.schema import MINIMUM_WINDOW_SECONDS
from trafficd.series import Series, is_counter

# Read at once of the releases of a day; a node has some eighty series.
_SAMPLES_AT_ONCE, _SERIES_OF_A_NODE = 500_000, 100
_METRICS = (
    *(each.name for each in UPLINK + TUNNEL),
    schema.CLASS_RECEIVE.sample_name,
    schema.CLASS_TRANSMIT.sample_name,
    CAPACITY.name,
    STARTED.name,
    RELEASED.name,
)


class DayReading:
    """Reads the days of some nodes with the same window."""

    def __init__(self, releases: Releases, window: int, nodes: Sequence[Node]) -> None:
        self._releases = releases
        self._window = window
        self._nodes = nodes

    async def days(self, last: int, newest: Mapping[str, int]) -> list[NodeDays]:
        """Return the days of the nodes up to the one numbered *last*.

        Raises: HistoryError if they cannot be had.
        """
        begin = min(min(node.last_at) for node in self._nodes)
        # The first end is that of the day before, so that each day has one.
        ends = range(begin - DAY_SECONDS, (last + 1) * DAY_SECONDS + 1, DAY_SECONDS)
        days = await self._read(self._window, [node.name for node in self._nodes], ends)
        # Where windows were shorter once, values from after the end of a day are in force.
        again = [name for name, each in days.items() if each.ends.moves_on()]
        if again:
            days |= await self._read(MINIMUM_WINDOW_SECONDS, again, ends)
        for node in self._nodes:
            days[node.name].refuse_lack(node)
        unsure: dict[tuple[int, int], list[str]] = {}
        for name, each in days.items():
            for place in each.unsure():
                unsure.setdefault((place, each.window), []).append(name)
        for (place, window), names in sorted(unsure.items()):
            at_once = DAY_SECONDS // window * _SERIES_OF_A_NODE
            for some in pieces(names, max(1, _SAMPLES_AT_ONCE // at_once)):
                await self._add_up(place, window, {name: days[name] for name in some})
        found = (
            days[node.name].node_days(node, self._window, newest.get(node.name, 0))
            for node in self._nodes
        )
        return [each for each in found if each is not None]

    async def _read(self, window: int, names: Sequence[str], ends: range) -> dict[str, "_Days"]:
        asked, nodes = self._releases, among(names)
        tables = await asked.at(_METRICS, names, ends, window=window, within=DAY_SECONDS)
        # Many, and they move at the end of a day only: where it has no release, the day is unsure.
        buckets = await asked.at((BUCKET,), names, ends, window=window)
        # Of the grid points of a day those at which the release of that very time is in force.
        counts = await asked.each_day(
            f"count_over_time((last_over_time({RELEASED.name}{{{nodes}}}[{window}s]"
            f" offset -{window - 1}s) == time())[{DAY_SECONDS - 1}s:{window}s])",
            ends,
            0,
        )
        # From the last release of the day before on, so of two days.
        resets = await asked.each_day(
            " + ".join(
                f"sum by (node) (resets({each.name}{{{nodes}}}[{2 * DAY_SECONDS}s]))"
                for each in UPLINK + TUNNEL
            ),
            ends,
            window - 1,
        )
        nothing = np.full(len(ends), np.nan)
        for name in names:
            tables[name].join(buckets[name])
        return {
            name: _Days(window, tables[name], counts.get(name, nothing), resets.get(name, nothing))
            for name in names
        }

    async def _add_up(self, place: int, window: int, days: Mapping[str, "_Days"]) -> None:
        """Have the day of a *place* be what its releases add up to."""
        names, metrics = list(days), (*_METRICS, BUCKET)
        end = next(iter(days.values())).ends.points[place]
        since = end - DAY_SECONDS
        points = range(since, end + 1, window)
        tables = await self._releases.at(metrics, names, points, window=window)
        for name, table in tables.items():
            table.refuse_several(name)
            found = table.releases()
            before = days[name].last_before(place)
            if before is not None and (not found or found[0][0] > since):
                # Of a gap: what was in force when it began.
                then = range(before, before + 1)
                one = await self._releases.at(metrics, [name], then, window=window)
                found = one[name].releases() + found
            days[name].add_up(place, found)


class _Days:
    """The days of a node while they are made out.

    Shape: place 0 is of the day before the first, of which only the end is known.
    """

    def __init__(self, window: int, ends: Table, counts: Floats, resets: Floats) -> None:
        self.window = window
        self.ends = ends
        self._resets = resets
        self._counts = np.nan_to_num(counts, nan=0.0)
        self._capacity = ends.of(CAPACITY).copy()
        counters = sorted(each for each in ends.values if is_counter(each))
        self._totals = np.array([ends.values[each] for each in counters])
        moved = np.full(self._totals.shape, np.nan)
        moved[:, 1:] = np.diff(np.floor(self._totals), axis=1)
        self._moved: dict[Series, Floats] = dict(zip(counters, moved, strict=True))

    def refuse_lack(self, node: Node) -> None:
        """Refuse an answer that lacks a release which another one has.

        Raises: HistoryError with the day.
        """
        released, points = self.ends.of(RELEASED), self.ends.points
        for end in node.last_at:
            if np.isnan(released[points.index(end)]):
                day = day_numbered(end // DAY_SECONDS - 1)
                raise HistoryError(
                    f"node {node.name}: its releases of {day} are in one answer and not in the"
                    " next: the engine leaves some out; see its limits"
                )

    def unsure(self) -> list[int]:
        """Return the places of days whose ends alone do not tell what moved."""
        released, started = self.ends.of(RELEASED), self.ends.of(STARTED)
        points = np.array(self.ends.points)
        is_of_day = (released > points - DAY_SECONDS) & (released <= points)
        is_there = ~np.isnan(self._totals)
        is_sure = is_of_day[1:] & is_of_day[:-1] & (started[1:] == started[:-1])
        is_sure &= self._resets[1:] == 0
        is_sure &= (is_there[:, 1:] == is_there[:, :-1]).all(axis=0)
        is_sure &= ~(self._totals[:, 1:] < self._totals[:, :-1]).any(axis=0)
        is_sure[[place - 1 for place in self.ends.several if place]] = False
        is_unsure: npt.NDArray[np.bool_] = (self._counts[1:] > 0) & ~is_sure
        return [int(place) + 1 for place in np.flatnonzero(is_unsure)]

    def last_before(self, place: int) -> int | None:
        """Return the last release of the days before that of a *place*."""
        released = self.ends.of(RELEASED)[:place]
        known = released[released > 0]
        return int(known[-1]) if len(known) else None

    def add_up(self, place: int, releases: Sequence[tuple[int, dict[Series, float]]]) -> None:
        """Have a day be what *releases* add up to, the first of them from before it or at once."""
        since = self.ends.points[place] - DAY_SECONDS
        for values in self._moved.values():
            values[place] = np.nan
        for series, moved in _moved(releases, since).items():
            if series not in self._moved:
                self._moved[series] = np.full(len(self.ends.points), np.nan)
            self._moved[series][place] = moved
        of_day = [values for at, values in releases if at > since]
        # More than were counted where two series of a node follow each other.
        self._counts[place] = len(of_day)
        self._capacity[place] = of_day[-1].get(CAPACITY, np.nan) if of_day else np.nan

    def node_days(self, node: Node, window: int, newest_at: int) -> NodeDays | None:
        """Return the days of *node*; None if there are none."""
        points = self.ends.points
        # A day's number is that of its beginning.
        first = points[0] // DAY_SECONDS - 1
        known = np.flatnonzero(self._counts > 0)
        known = known[known > 0]
        if not len(known):
            return None
        table = DayTable(first, first + len(points) - 1)
        table.put(
            known + first,
            self._counts[known],
            self._capacity[known],
            Columns(list(self._moved)),
            np.array(list(self._moved.values())).T[known],
        )
        return table.node_days(
            node.name,
            node.location,
            window_seconds=window,
            last_release_at=max(node.newest_at, newest_at),
        )


def _moved(
    releases: Sequence[tuple[int, Mapping[Series, float]]], since: int
) -> dict[Series, float]:
    """Return what each counter moved after *since*; the release in force then comes first."""
    start: float | None = None
    began_inside = False
    last: dict[Series, float] = {}
    moved: dict[Series, float] = {}
    for at, values in releases:
        counters = {each: math.floor(value) for each, value in values.items() if is_counter(each)}
        stated = values.get(STARTED, start)
        fell = any(value < last[each] for each, value in counters.items() if each in last)
        if start not in (None, stated) or fell:
            last, began_inside = {}, True
        elif start is None and stated is not None and not last:
            began_inside = stated >= since
        start = stated
        for series, value in counters.items():
            # What stands at the beginning was moved before it.
            seen_first = 0.0 if began_inside and at > since else float(value)
            moved[series] = moved.get(series, 0.0) + value - last.get(series, seen_first)
            last[series] = float(value)
    return moved

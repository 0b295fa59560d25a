"""The history that the collector keeps, read from its file while it writes there.

Days are read once. A file is asked again for the last five weeks, since nodes keep releases for 31
days and may bring them that late; of the days before, one line a node says whether any is another
than it was (a history that is loaded, days deleted), and only such a node is read anew.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from math import nan
from pathlib import Path

import numpy as np

from trafficd.collector.store_coding import decompress_planes, whole_planes
from trafficd.collector.store_nodes import KnownNode
from trafficd.collector.store_reading import DayRow, Reading, ReleaseRow
from trafficd.collector.store_schema import translated
from trafficd.errors import HistoryError, StoreError
from trafficd.planning.daily import Days, Floats
from trafficd.planning.day_table import (
    DAY_SECONDS,
    TUNNEL,
    UPLINK,
    Columns,
    DayTable,
    day_numbered,
    number_of,
)
from trafficd.planning.grid import (
    SEEN_SECONDS,
    end_of_last,
    first_point,
    moved_in_windows,
    window_of,
)
from trafficd.planning.node_history import NodeDays, NodeWindows, Pair
from trafficd.series import Series

_LATE_DAYS = 35
_DOUBLE_BYTES = 8
# Chosen: a day's facts of so many nodes.
_MOST_STARTS = 20_000


class SqliteHistory:
    """The history in the file at a path; one thread at a time calls it."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self._path = path
        self._forget()

    def days(self, until: date) -> list[NodeDays]:
        """Return every node's days up to *until*, by name; that day is over.

        Raises: HistoryError if they cannot be had.
        """
        last = number_of(until)
        if last < self._last:
            self._forget()
        try:
            with Reading(self._path) as reading:
                self._read_days(reading, last)
        except StoreError as error:
            self._forget()
            raise HistoryError(str(error)) from error
        return sorted(self._days.values(), key=lambda each: each.node)

    def windows(self, since: int, until: int) -> list[NodeWindows]:
        """Return what every node moved in its windows after *since* and up to *until*, by name.

        Raises: HistoryError if it cannot be had.
        """
        try:
            with Reading(self._path) as reading:
                known = {each.node.number: each for each in reading.nodes()}
                windows = _windows_within(reading, known, since, until)
                # Nodes with the same window lie in one table.
                tables = [
                    _Windows([number for number in known if windows.get(number) == each], each)
                    for each in sorted(set(windows.values()))
                ]
                for table in tables:
                    table.begin(since, until)
                reader = _Totals(reading, self._path)
                # Of the first point as well, since that is what the first window begins with.
                for chunk in reading.releases(since - 1, until):
                    rows = reader.rows(chunk)
                    for table in tables:
                        table.take(*rows)
        except StoreError as error:
            raise HistoryError(str(error)) from error
        found = [each for table in tables for each in table.windows(known)]
        return sorted(found, key=lambda each: each.node)

    def _forget(self) -> None:
        self._days: dict[int, NodeDays] = {}
        self._fingerprints: dict[int, tuple[int, ...]] = {}
        self._last = 0
        # Of what stood in the file of the days after those, to see whether it still does.
        self._recent: dict[int, int] = {}
        # The days before this one are not read again, unless they are others.
        self._settled = 0
        self._columns: dict[tuple[Series, ...], Columns] = {}

    def _read_days(self, reading: Reading, last: int) -> None:
        # Asked for before the days are, so that what changes in between is seen the next time.
        prints = reading.fingerprints(self._settled)
        settled = max(self._settled, last + 1 - _LATE_DAYS)
        settled_prints = reading.fingerprints(settled)
        waiting = reading.waiting(last)
        known = reading.nodes()
        seen = _seen(reading, (last + 1) * DAY_SECONDS)
        found, recent = {}, {}
        for each in known:
            number = each.node.number
            is_same = prints.get(number) == self._fingerprints.get(number)
            # Let go of as its days are made, so that not all of them are held twice.
            before = self._days.pop(number, None) if is_same else None
            rows = reading.days(number, self._settled if is_same else 0, last)
            days_waiting = waiting.get(number, [])
            recent[number] = hash((last, *rows[bisect_left(rows, (settled,)) :]))
            is_all_same = recent[number] == self._recent.get(number) and not days_waiting
            if before is not None and is_all_same and settled == self._settled:
                found[number] = _renewed(reading, each, before)
                continue
            kept = before and before.until(day_numbered(self._settled - 1))
            table = self._table(reading, number, kept, rows, last, days_waiting)
            if table is None:
                continue
            days = _node_days(reading, table, each, last, seen.get(number, ()))
            if days is not None:
                found[number] = days
        self._days, self._fingerprints, self._recent = found, settled_prints, recent
        self._last, self._settled = last, settled

    def _table(
        self,
        reading: Reading,
        number: int,
        kept: NodeDays | None,
        rows: Sequence[DayRow],
        last: int,
        waiting: Sequence[int],
    ) -> DayTable | None:
        """Return the days of a node: as they are kept, and over them as they are read."""
        begins = [row.day for row in rows[:1]] + list(waiting[:1])
        if kept is not None and kept.days:
            begins.append(number_of(kept.first))
        if not begins:
            return None
        table = DayTable(min(begins), last)
        if kept is not None and kept.days:
            table.take(kept)
        self._put_rows(reading, table, rows)
        for day in waiting:
            summed = reading.summed(number, day)
            if summed is None:
                continue
            capacity = summed.capacity_bits_per_second
            table.put(
                np.array([day]),
                np.array([float(summed.releases)]),
                np.array([nan if capacity is None else capacity]),
                self._columns_of(tuple(summed.moved)),
                np.array([list(summed.moved.values())]),
            )
        return table

    def _put_rows(self, reading: Reading, table: DayTable, rows: Sequence[DayRow]) -> None:
        by_layout: dict[int, list[DayRow]] = {}
        for row in rows:
            by_layout.setdefault(row.layout, []).append(row)
        for layout, alike in by_layout.items():
            series = reading.series(layout)
            count = len(series)
            with translated(self._path):
                planes = [whole_planes(decompress_planes(row.body, count), count) for row in alike]
            table.put(
                np.array([row.day for row in alike]),
                np.array([float(row.releases) for row in alike]),
                np.array([nan if row.capacity is None else row.capacity for row in alike]),
                self._columns_of(series),
                _doubles(planes, count),
            )

    def _columns_of(self, series: tuple[Series, ...]) -> Columns:
        known = self._columns.get(series)
        if known is None:
            known = self._columns[series] = Columns(series)
        return known


def _renewed(reading: Reading, known: KnownNode, days: NodeDays) -> NodeDays:
    """Return *days* with what else is known of the node now."""
    return replace(
        days,
        location=known.node.location,
        last_release_at=reading.newest_at(known.node.number),
        is_active=known.revoked_at is None,
    )


def _node_days(
    reading: Reading, table: DayTable, known: KnownNode, last: int, seen: Sequence[int]
) -> NodeDays | None:
    number = known.node.number
    newest_at = reading.newest_at(number)
    days = table.node_days(
        known.node.name,
        known.node.location,
        last_release_at=newest_at,
        is_active=known.revoked_at is None,
    )
    if days is None:
        return None
    if number_of(days.last) != last:
        end = (number_of(days.last) + 1) * DAY_SECONDS
        seen = reading.times(number, end - SEEN_SECONDS, end)
    # Of a node that is away for longer than releases are kept, one still is.
    return replace(days, window_seconds=window_of(seen or [newest_at]))


class _Totals:
    """Takes the uplinks' and the tunnels' totals out of releases, and when their runs began."""

    def __init__(self, reading: Reading, path: Path) -> None:
        self._reading = reading
        self._path = path
        self._places: dict[int, tuple[int, list[int]]] = {}
        self._starts: dict[tuple[int, int | None], float] = {}

    def rows(self, chunk: Sequence[ReleaseRow]) -> tuple[Days, Days, Floats, Floats]:
        """Return time, node, start and totals of releases; NaN where they lack one.

        Shape: totals[release, counter].
        """
        at, node, layouts, facts, bodies = zip(*chunk, strict=True)
        totals = np.full((len(chunk), len(UPLINK + TUNNEL)), nan)
        of_layout = np.array(layouts)
        for layout in set(layouts):
            alike = np.flatnonzero(of_layout == layout)
            count, columns = self._columns_of(layout)
            with translated(self._path):
                planes = [whole_planes(bodies[place], count) for place in alike.tolist()]
            values = _doubles(planes, count)
            for counter, column in enumerate(columns):
                if column >= 0:
                    totals[alike, counter] = values[:, column]
        starts = self._started_at(list(zip(layouts, facts, strict=True)))
        return np.array(at, dtype=np.int64), np.array(node, dtype=np.int64), starts, totals

    def _columns_of(self, layout: int) -> tuple[int, list[int]]:
        found = self._places.get(layout)
        if found is None:
            series = self._reading.totals(layout)
            places = [series.index(each) if each in series else -1 for each in UPLINK + TUNNEL]
            found = self._places[layout] = (len(series), places)
        return found

    def _started_at(self, stated: Sequence[tuple[int, int | None]]) -> Floats:
        """Return when the runs began, by layout and facts."""
        if len(self._starts) > _MOST_STARTS:
            self._starts.clear()
        for each in set(stated) - self._starts.keys():
            start = self._reading.started_at(*each)
            self._starts[each] = nan if start is None else start
        return np.array([self._starts[each] for each in stated])


class _Windows:
    """What nodes with the same window moved, in one table."""

    def __init__(self, numbers: Sequence[int], window_seconds: int) -> None:
        self._numbers = np.array(sorted(numbers))
        self._window_seconds = window_seconds

    def begin(self, since: int, until: int) -> None:
        """Have room for the grid points from *since* to *until*."""
        self._first_at = first_point(since, self._window_seconds)
        self._points = max(0, (until - self._first_at) // self._window_seconds) + 1
        shape = (len(self._numbers), len(UPLINK + TUNNEL), self._points)
        self._totals = np.full(shape, nan)
        self._started_at = np.full((len(self._numbers), self._points), nan)

    def take(self, at: Days, node: Days, started_at: Floats, totals: Floats) -> None:
        """Take releases, those of these nodes and on their grid."""
        place = np.minimum(np.searchsorted(self._numbers, node), len(self._numbers) - 1)
        point, rest = np.divmod(at - self._first_at, self._window_seconds)
        is_ours = (self._numbers[place] == node) & (rest == 0) & (point >= 0)
        is_ours &= point < self._points
        place, point = place[is_ours], point[is_ours].astype(np.int64)
        self._totals[place, :, point] = totals[is_ours]
        self._started_at[place, point] = started_at[is_ours]

    def windows(self, known: dict[int, KnownNode]) -> Iterator[NodeWindows]:
        """Yield what each of the nodes moved; nothing can be taken any more."""
        for place, number in enumerate(self._numbers.tolist()):
            node, table = known[number].node, self._totals[place]
            # In place: a month of short windows of many nodes is not held twice.
            table[:, :-1] = moved_in_windows(table, self._started_at[place])
            receive, transmit, tunnel_receive, tunnel_transmit = table[:, :-1]
            yield NodeWindows(
                node.name,
                node.location,
                self._window_seconds,
                self._first_at,
                Pair(receive, transmit),
                Pair(tunnel_receive, tunnel_transmit),
            )


def _seen(reading: Reading, until: int) -> dict[int, list[int]]:
    """Return when nodes released in the days that windows are seen in, up to *until*."""
    seen: dict[int, list[int]] = {}
    same = 0
    for chunk in reading.release_times(until - SEEN_SECONDS, until):
        for at, number in chunk:
            # One object a grid point, of which thousands of nodes say the same.
            if at != same:
                same = at
            seen.setdefault(number, []).append(same)
    return seen


def _windows_within(
    reading: Reading, numbers: Iterable[int], since: int, until: int
) -> dict[int, int]:
    """Return the window of each node that has a release after *since* and up to *until*."""
    seen = _seen(reading, until)
    found = {}
    for number in numbers:
        times: Sequence[int] = seen.get(number, ())
        last_at = times[-1] if times else reading.last_at(number, since, until)
        if last_at is None or last_at <= since:
            continue
        end = end_of_last(last_at, until)
        if end != until:
            times = reading.times(number, end - SEEN_SECONDS, end)
        found[number] = window_of(times)
    return found


def _doubles(planes: Sequence[bytes], count: int) -> Floats:
    """Return the values of rows from their byte planes.

    Shape: doubles[row, value].
    """
    whole = np.frombuffer(b"".join(planes), dtype=np.uint8)
    shaped = whole.reshape(len(planes), _DOUBLE_BYTES, count)[:, ::-1, :]
    memory = np.ascontiguousarray(shaped.transpose(0, 2, 1))
    return memory.view("<f8").reshape(len(planes), count)

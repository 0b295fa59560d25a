"""The file as a planner reads it beside the daemon that writes it: rows as they stand in it.

Each answer is one of statements that are over when it is given, so that nobody keeps the daemon
from taking back its log.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from trafficd.collector.store_coding import values_in
from trafficd.collector.store_daily import DAY_SECONDS, Daily, Summed, end_of
from trafficd.collector.store_layouts import Layouts
from trafficd.collector.store_nodes import KnownNode, Nodes
from trafficd.collector.store_rows import Row, Rows
from trafficd.collector.store_schema import open_read_only, translated
from trafficd.series import Series

# Rows of a chunk: some megabytes of them.
_CHUNK = 8192


class DayRow(NamedTuple):
    """A day of a node as it is summed up; *day* is its number."""

    day: int
    last_at: int
    releases: int
    capacity: float | None
    layout: int
    body: bytes


# A release: its time, the node's number, its layout, its facts and its body.
ReleaseRow = tuple[int, int, int, int | None, bytes]


class Reading:
    """A file that is open to be read.

    All methods raise StoreError if it cannot be read, or does not decode.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises: StoreError if there is none, or it is not ours and of this version.
        """
        self._path = path
        self._connection = open_read_only(path)
        self._layouts = Layouts(self._connection)
        self._rows = Rows(self._connection, self._layouts)
        self._daily = Daily(self._connection, self._layouts, self._rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def nodes(self) -> list[KnownNode]:
        """Return every node there ever was, by number."""
        with translated(self._path):
            return Nodes(self._connection).all()

    def series(self, layout: int) -> tuple[Series, ...]:
        """Return the series of a layout, in the order of a day's values."""
        with translated(self._path):
            return self._layouts.numbered(layout).series

    def totals(self, layout: int) -> tuple[Series, ...]:
        """Return the series of a layout that a release's body has, in its order."""
        with translated(self._path):
            return self._layouts.numbered(layout).total_series

    def waiting(self, until: int) -> dict[int, list[int]]:
        """Return the days up to the one numbered *until* that are not summed up as they stand.

        Shape: their numbers in order, by the number of the node.
        """
        with translated(self._path):
            found = self._connection.execute(
                "SELECT node, day FROM stale WHERE day <= :until"
                " UNION SELECT node, (at - 1) / :day_seconds FROM release"
                " WHERE at > ifnull((SELECT at FROM progress WHERE name = 'marked'), 0)"
                " AND at <= :end ORDER BY node, day",
                {"until": until, "day_seconds": DAY_SECONDS, "end": end_of(until)},
            ).fetchall()
        by_node: dict[int, list[int]] = {}
        for number, day in found:
            by_node.setdefault(number, []).append(day)
        return by_node

    def fingerprints(self, before: int) -> dict[int, tuple[int, ...]]:
        """Return what tells by node whether a day before the one numbered *before* is another."""
        with translated(self._path):
            found = self._connection.execute(
                "SELECT node, count(*), sum(day), sum(last_at), sum(releases), sum(layout),"
                " sum(length(body)) FROM daily WHERE day < ? GROUP BY node",
                (before,),
            ).fetchall()
        return {number: tuple(sums) for number, *sums in found}

    def days(self, number: int, first: int, last: int) -> list[DayRow]:
        """Return the days of node *number* that are summed up, from one to another."""
        with translated(self._path):
            found = self._connection.execute(
                "SELECT day, last_at, releases, capacity, layout, body FROM daily"
                " WHERE node = ? AND day >= ? AND day <= ? ORDER BY day",
                (number, first, last),
            ).fetchall()
        return [DayRow(*each) for each in found]

    def summed(self, number: int, day: int) -> Summed | None:
        """Return a day of node *number* from its releases; None where it is not had from these."""
        with translated(self._path):
            return self._daily.summed(number, day)

    def newest_at(self, number: int) -> int:
        """Return the time of the newest release of node *number*, 0 if it has none."""
        with translated(self._path):
            return self._rows.newest_at(number)

    def last_at(self, number: int, since: int, until: int) -> int | None:
        """Return the time of the last release of node *number* after *since* and up to *until*."""
        with translated(self._path):
            found = self._rows.back_from(number, until, since)
            return found[0].at if found else None

    def times(self, number: int, since: int, until: int) -> list[int]:
        """Return the times of the releases of node *number* after *since* and up to *until*."""
        with translated(self._path):
            return [row.at for row in self._rows.between(number, since, until)]

    def releases(self, since: int, until: int) -> Iterator[list[ReleaseRow]]:
        """Yield the releases of all nodes after *since* and up to *until*, by time and node."""
        at, number = since, 1 << 62
        while True:
            with translated(self._path):
                found = self._connection.execute(
                    "SELECT at, node, layout, facts, body FROM release"
                    " WHERE (at, node) > (?, ?) AND at <= ? ORDER BY at, node LIMIT ?",
                    (at, number, until, _CHUNK),
                ).fetchall()
            if found:
                yield found
                at, number = found[-1][:2]
            if len(found) < _CHUNK:
                return

    def release_times(self, since: int, until: int) -> Iterator[list[tuple[int, int]]]:
        """Yield time and node of the releases after *since* and up to *until*, in their order."""
        at, number = since, 1 << 62
        while True:
            with translated(self._path):
                found = self._connection.execute(
                    "SELECT at, node FROM release"
                    " WHERE (at, node) > (?, ?) AND at <= ? ORDER BY at, node LIMIT ?",
                    (at, number, until, _CHUNK),
                ).fetchall()
            if found:
                yield found
                at, number = found[-1]
            if len(found) < _CHUNK:
                return

    def started_at(self, layout: int, facts: int | None) -> float | None:
        """Return when the run of a release with *facts* began, None where it does not say."""
        with translated(self._path):
            found = self._layouts.numbered(layout)
            if found.start is None:
                return None
            start = values_in(self._rows.facts(Row(0, found, facts, b"")))[found.start]
            return None if math.isnan(start) else start

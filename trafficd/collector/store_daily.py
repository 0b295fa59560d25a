"""What a node moved on a UTC day, kept when its releases no longer are."""

import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from trafficd.collector.store_coding import (
    CAPACITY,
    START,
    compress,
    decompress,
    doubles,
    values_in,
)
from trafficd.collector.store_increase import Increase
from trafficd.collector.store_layouts import Layouts
from trafficd.collector.store_rows import Rows
from trafficd.series import Series

DAY_SECONDS = 24 * 60 * 60
# Runs that a liar makes up can add up to more than a double says; then nothing else goes amiss.
_MOST_MOVED = int(sys.float_info.max)


@dataclass(frozen=True, slots=True)
class Day:
    """A UTC day of a node.

    Units: *ends_at* is 00:00 UTC of the day after; a release of then belongs to it.
    Shape: *moved* has each counter, the histogram's buckets too. *releases* says of how many it is
    the sum. *capacity_bits_per_second* and *started_at* are of its last release, None where that
    lacks them.
    """

    ends_at: int
    releases: int
    moved: dict[Series, int]
    capacity_bits_per_second: float | None
    started_at: float | None


class Summed(NamedTuple):
    """A day as its releases say it, and the last of these."""

    last_at: int
    releases: int
    moved: dict[Series, float]
    capacity_bits_per_second: float | None
    started_at: float | None


def day_of(at: int) -> int:
    """Return the number of the UTC day that a release at *at* is of; at 00:00 a day ends."""
    return (at - 1) // DAY_SECONDS


def end_of(day: int) -> int:
    """Return when the day numbered *day* ends."""
    return (day + 1) * DAY_SECONDS


class Daily:
    """The days in a file."""

    def __init__(self, connection: sqlite3.Connection, layouts: Layouts, rows: Rows) -> None:
        self._connection = connection
        self._layouts = layouts
        self._rows = rows

    def sum_up(self, number: int, day: int) -> None:
        """Write the day numbered *day* of node *number* from its releases; in a transaction."""
        summed = self.summed(number, day)
        if summed is None:
            return
        layout = self._layouts.of(summed.moved)
        self._connection.execute(
            "INSERT OR REPLACE INTO daily"
            " (node, day, last_at, releases, capacity, started_at, layout, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                day,
                summed.last_at,
                summed.releases,
                summed.capacity_bits_per_second,
                summed.started_at,
                layout.number,
                compress(doubles([summed.moved[each] for each in layout.series])),
            ),
        )

    def summed(self, number: int, day: int) -> Summed | None:
        """Return the day numbered *day* of node *number* from its releases.

        None where there are none, or where it stands in the file as well as it can be had.
        """
        since = day * DAY_SECONDS
        before = self._rows.back_from(number, since, self._floor_of(number, day))
        if not before and self._counted_from_more(number, day):
            # What it counted from has been given up: it cannot be had any better than it is.
            return None
        increase, last, releases = Increase(self._rows, since), None, 0
        for row in (*before, *self._rows.between(number, since, end_of(day))):
            increase.add(row)
            if row.at > since:
                last, releases = row, releases + 1
        if last is None:
            return None
        moved = {each: float(min(it, _MOST_MOVED)) for each, it in increase.moved().items()}
        values = self._rows.values(last)
        return Summed(last.at, releases, moved, values.get(CAPACITY), values.get(START))

    def between(self, number: int, since: int, until: int) -> Iterator[Day]:
        """Yield the days of node *number* that end after *since* and up to *until*, in order."""
        found = self._connection.execute(
            "SELECT day, releases, layout, body, capacity, started_at FROM daily"
            " WHERE node = ? AND day >= ? AND day < ? ORDER BY day",
            (number, since // DAY_SECONDS, until // DAY_SECONDS),
        ).fetchall()
        for day, releases, layout, body, capacity, started_at in found:
            series = self._layouts.numbered(layout).series
            values = values_in(decompress(body, len(series)))
            moved = {each: int(value) for each, value in zip(series, values, strict=True)}
            yield Day(end_of(day), releases, moved, capacity, started_at)

    def _floor_of(self, number: int, day: int) -> int:
        """Return a time after which the release in force at the beginning of *day* stands.

        The days before are summed up first, so it is the last one of the last of these.
        """
        (last_at,) = self._connection.execute(
            "SELECT max(last_at) FROM daily WHERE node = ? AND day < ?", (number, day)
        ).fetchone()
        return int(last_at or 1) - 1

    def _counted_from_more(self, number: int, day: int) -> bool:
        """Return whether *day* is summed up, and there was a day before it."""
        found = self._connection.execute(
            "SELECT count(*) FROM daily WHERE node = ? AND day <= ?"
            " AND EXISTS (SELECT 1 FROM daily WHERE node = ?1 AND day = ?2)",
            (number, day),
        ).fetchone()
        return bool(found[0] > 1)

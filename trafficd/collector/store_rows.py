"""Releases in the file: a row for a node and grid time, with its facts beside it."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from trafficd.collector.store_coding import (
    Layout,
    Values,
    compress,
    decompress,
    lengthen,
    values_in,
)
from trafficd.collector.store_layouts import Layouts
from trafficd.series import Series

# Rows that are read at once, so that nobody holds a statement open while others write.
_CHUNK = 512
# Chosen: facts that late and merged releases share; a kilobyte each.
_MOST_FACTS = 2000

# There is no index by node: its grid points are asked for one by one, of those that anybody has.
_UPWARDS = """
WITH RECURSIVE grid(at) AS (
    SELECT min(at) FROM release WHERE at > :since
    UNION ALL
    SELECT (SELECT min(at) FROM release WHERE at > grid.at) FROM grid WHERE grid.at < :until
)
SELECT release.at, layout, facts, body FROM grid
CROSS JOIN release ON release.at = grid.at AND release.node = :node
WHERE grid.at <= :until LIMIT :most
"""
_DOWNWARDS = """
WITH RECURSIVE grid(at) AS (
    SELECT max(at) FROM release WHERE at <= :until
    UNION ALL
    SELECT (SELECT max(at) FROM release WHERE at < grid.at) FROM grid WHERE grid.at > :since
)
SELECT release.at, layout, facts, body FROM grid
CROSS JOIN release ON release.at = grid.at AND release.node = :node
WHERE grid.at > :since LIMIT :most
"""
_FOR_EVER = 1 << 62


class Row(NamedTuple):
    """A release as it stands in the file; without facts, *facts* is None."""

    at: int
    layout: Layout
    facts: int | None
    body: bytes


class Rows:
    """The releases of a file."""

    def __init__(self, connection: sqlite3.Connection, layouts: Layouts) -> None:
        self._connection = connection
        self._layouts = layouts
        self._facts: dict[int, bytes] = {}
        self._facts_numbers: dict[tuple[int, bytes], int] = {}

    def one(self, number: int, at: int) -> Row | None:
        """Return the release of node *number* at *at*."""
        found = self._connection.execute(
            "SELECT at, layout, facts, body FROM release WHERE at = ? AND node = ?", (at, number)
        ).fetchone()
        return self._row(found) if found else None

    def between(self, number: int, since: int, until: int) -> Iterator[Row]:
        """Yield the releases of node *number* after *since* and up to *until*, in time order."""
        while True:
            found = self._select(_UPWARDS, number, since, until, _CHUNK)
            yield from map(self._row, found)
            if len(found) < _CHUNK:
                return
            since = found[-1][0]

    def back_from(self, number: int, until: int, since: int = 0, most: int = 1) -> list[Row]:
        """Return *most* releases of node *number*, the last at *until* or before, newest first."""
        return [self._row(each) for each in self._select(_DOWNWARDS, number, since, until, most)]

    def newest_at(self, number: int) -> int:
        """Return the time of the newest release of node *number*, 0 if it has none."""
        marked = self._connection.execute(
            "SELECT max(at) FROM progress WHERE name = 'marked'"
        ).fetchone()[0]
        if newest := self._select(_DOWNWARDS, number, marked or 0, _FOR_EVER, 1):
            return int(newest[0][0])
        # All others are in a day that is summed up, or is about to be.
        (last_at,) = self._connection.execute(
            "SELECT max(last_at) FROM daily WHERE node = ?1"
            " AND day = (SELECT max(day) FROM daily WHERE node = ?1)",
            (number,),
        ).fetchone()
        summed = last_at or 0
        if self._connection.execute("SELECT 1 FROM stale WHERE node = ?", (number,)).fetchone():
            newest = self._select(_DOWNWARDS, number, summed, _FOR_EVER, 1)
        return int(newest[0][0] if newest else summed)

    def totals(self, row: Row) -> Values:
        """Return the totals of *row*, holes among them.

        Raises: ValueError if they do not decode.
        """
        return values_in(lengthen(row.body, row.layout.total_count))

    def facts(self, row: Row) -> bytes:
        """Return the facts of *row* as doubles, holes among them.

        Raises: ValueError if they do not decode.
        """
        if row.facts is None:
            return row.layout.no_facts
        known = self._facts.get(row.facts)
        if known is None:
            found = self._connection.execute(
                "SELECT body FROM facts WHERE number = ?", (row.facts,)
            ).fetchone()
            if found is None:
                raise ValueError(f"facts {row.facts}: missing")
            known = decompress(found[0], row.layout.fact_count)
            self._keep(row.facts, known)
        return known

    def values(self, row: Row) -> dict[Series, float]:
        """Return the values of *row* by series, in the order of its layout."""
        return row.layout.gather(self.totals(row), values_in(self.facts(row)))

    def facts_number(self, number: int, facts: bytes, until: int | None) -> int:
        """Return the row of *facts* of node *number*, written now if need be.

        *until* is the time of the one release they are for; None for those of its newest.
        """
        known = self._facts_numbers.get((number, facts))
        if known is None:
            (known,) = self._connection.execute(
                "INSERT INTO facts (node, until, body) VALUES (?, ?, ?) RETURNING number",
                (number, until, compress(facts)),
            ).fetchone()
            self._facts_numbers[number, facts] = known
            self._keep(known, facts)
        elif until is None:
            self.hold_facts(known)
        else:
            # What the newest release has stays without an end.
            self._connection.execute(
                "UPDATE facts SET until = ? WHERE number = ? AND until < ?", (until, known, until)
            )
        return int(known)

    def hold_facts(self, facts: int) -> None:
        """Note that the next release of a node is likely to have *facts*."""
        self._connection.execute(
            "UPDATE facts SET until = NULL WHERE number = ? AND until IS NOT NULL", (facts,)
        )

    def end_facts(self, facts: int, until: int) -> None:
        """Note that no release after *until* has *facts*, as far as is known."""
        self._connection.execute(
            "UPDATE facts SET until = max(ifnull(until, 0), ?) WHERE number = ?", (until, facts)
        )

    def forget(self) -> None:
        """Forget what may have been undone with its transaction, or deleted."""
        self._facts.clear()
        self._facts_numbers.clear()

    def _keep(self, facts: int, doubles: bytes) -> None:
        if len(self._facts) >= _MOST_FACTS or len(self._facts_numbers) >= _MOST_FACTS:
            self.forget()
        self._facts[facts] = doubles

    def _select(
        self, statement: str, number: int, since: int, until: int, most: int
    ) -> list[tuple[int, int, int | None, bytes]]:
        return self._connection.execute(
            statement, {"node": number, "since": since, "until": until, "most": most}
        ).fetchall()

    def _row(self, found: tuple[int, int, int | None, bytes]) -> Row:
        at, layout, facts, body = found
        return Row(at, self._layouts.numbered(layout), facts, body)

"""Layouts in the file: written once each, and kept in memory while they are used."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable

from trafficd.collector.store_coding import Layout
from trafficd.series import Series, place

# Nodes of the same classes and version share one; a fleet in which none do still fits.
_MOST_KEPT = 10_000


class Layouts:
    """The layouts of a file, by their number and by their series."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._by_number: dict[int, Layout] = {}
        self._by_series: dict[tuple[Series, ...], Layout] = {}
        self._known: dict[Series, Series] = {}
        # How many were written since the file was opened.
        self.made = 0

    def of(self, series: Iterable[Series]) -> Layout:
        """Return the layout of *series*, written now if it is new; within a transaction."""
        # Nearly always they come in order, and sorting takes longer than all else.
        if (known := self._by_series.get(tuple(series))) is not None:
            return known
        series = tuple(sorted(series, key=place))
        if (known := self._by_series.get(series)) is not None:
            return known
        text = _written(series)
        digest = hashlib.sha256(text.encode()).digest()
        found = self._connection.execute(
            "SELECT number FROM layout WHERE digest = ?", (digest,)
        ).fetchone()
        if found is None:
            found = self._connection.execute(
                "INSERT INTO layout (digest, series) VALUES (?, ?) RETURNING number", (digest, text)
            ).fetchone()
            self.made += 1
        return self._keep(Layout(found[0], series))

    def numbered(self, number: int) -> Layout:
        """Return layout *number*.

        Raises: ValueError if the file has none, or one that does not decode.
        """
        if (known := self._by_number.get(number)) is not None:
            return known
        found = self._connection.execute(
            "SELECT series FROM layout WHERE number = ?", (number,)
        ).fetchone()
        if found is None:
            raise ValueError(f"layout {number}: missing")
        return self._keep(Layout(number, self._read(found[0])))

    def forget(self) -> None:
        """Forget what may have been undone with its transaction."""
        self._by_number.clear()
        self._by_series.clear()
        self._known.clear()

    def _keep(self, layout: Layout) -> Layout:
        if len(self._by_number) >= _MOST_KEPT:
            self.forget()
        self._by_number[layout.number] = layout
        self._by_series[layout.series] = layout
        return layout

    def _read(self, text: str) -> tuple[Series, ...]:
        found = (
            Series(name, tuple((label, value) for label, value in labels))
            for name, labels in json.loads(text)
        )
        # One object a series in all layouts, so that comparing layouts is comparing pointers.
        return tuple(self._known.setdefault(series, series) for series in found)


def _written(series: Iterable[Series]) -> str:
    return json.dumps([(each.name, each.labels) for each in series], separators=(",", ":"))

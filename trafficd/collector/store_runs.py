"""Runs of totals: a node that is booted anew begins again at 0, and what it had moved stays moved.

A run is known by its start time, which each of our releases states; so it does not matter in which
order releases arrive. A total only grows within a run, and its final value is the largest seen. The
final values of the run that a node is in are kept up to date only when something out of the
ordinary happens: its newest release has them.

A sender that leaves the start time out is taken at its totals: one that falls begins a new run.
That is seen as releases arrive, so an older one that arrives late changes no run then.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from trafficd.collector.store_coding import compress, decompress, doubles, values_in
from trafficd.collector.store_layouts import Layouts
from trafficd.series import Series, is_counter


class Run(NamedTuple):
    """A run of node *node*; *started_at* is None while nobody said it."""

    number: int
    node: int
    started_at: float | None
    first_at: int
    last_at: int
    final: dict[Series, float]


class Runs:
    """The runs in a file; all that writes is called within a transaction."""

    def __init__(self, connection: sqlite3.Connection, layouts: Layouts) -> None:
        self._connection = connection
        self._layouts = layouts

    def begin(self, node: int, start: float | None, at: int, values: Mapping[Series, float]) -> int:
        """Return a new run's number."""
        layout, body = self._coded(values)
        (number,) = self._connection.execute(
            "INSERT INTO run (node, started_at, first_at, last_at, layout, body)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING number",
            (node, start, at, at, layout, body),
        ).fetchone()
        return int(number)

    def enter(self, node: int, number: int) -> None:
        """Note that *node* is in run *number*; what it was in before is over."""
        self._connection.execute("UPDATE node SET run = ? WHERE number = ?", (number, node))

    def forget_all(self, node: int) -> None:
        """Know of no run of *node* any more."""
        self._connection.execute("UPDATE node SET run = NULL WHERE number = ?", (node,))
        self._connection.execute("DELETE FROM run WHERE node = ?", (node,))

    def extend(self, run: Run, at: int, values: Mapping[Series, float]) -> None:
        """Have *run* hold a release at *at* as well."""
        final = dict(run.final)
        for series, value in counters(values).items():
            final[series] = max(final.get(series, 0.0), value)
        layout, body = self._coded(final)
        self._connection.execute(
            "UPDATE run SET first_at = ?, last_at = ?, layout = ?, body = ? WHERE number = ?",
            (min(run.first_at, at), max(run.last_at, at), layout, body, run.number),
        )

    def numbered(self, number: int) -> Run:
        """Return run *number*, which there is."""
        return next(self._select("run.number = ?", (number,)))

    def find(self, node: int, start: float | None, at: int) -> Run | None:
        """Return the run that a release of *node* at *at* which states *start* belongs to."""
        # Only those are decoded: a node may have thousands.
        runs = list(self._select("node = ? AND started_at IS ?", (node, start)))
        # The same start twice is a node whose totals fell all the same.
        began = [run for run in runs if run.first_at <= at]
        if began:
            return began[-1]
        return runs[0] if runs and start is not None else None

    def of(self, node: int) -> Iterator[Run]:
        """Yield the runs of *node*, by the time of their first releases."""
        yield from self._select("node = ?", (node,))

    def count(self, node: int) -> int:
        """Return how many runs *node* has had."""
        (count,) = self._connection.execute(
            "SELECT count(*) FROM run WHERE node = ?", (node,)
        ).fetchone()
        return int(count)

    def finished(self) -> Iterator[Run]:
        """Yield the runs that are over, by node."""
        yield from self._select("number IS NOT (SELECT run FROM node WHERE number = run.node)", ())

    def _select(self, condition: str, values: tuple[float | None, ...]) -> Iterator[Run]:
        found = self._connection.execute(
            "SELECT number, node, started_at, first_at, last_at, layout, body FROM run"  # noqa: S608
            f" WHERE {condition} ORDER BY node, first_at, number",  # ours, not a sender's
            values,
        ).fetchall()
        for number, node, started_at, first_at, last_at, layout, body in found:
            series = self._layouts.numbered(layout).series
            final = zip(series, values_in(decompress(body, len(series))), strict=True)
            yield Run(number, node, started_at, first_at, last_at, dict(final))

    def _coded(self, values: Mapping[Series, float]) -> tuple[int, bytes]:
        """Return the layout's number and the body of the counters in *values*."""
        final = counters(values)
        layout = self._layouts.of(final)
        return layout.number, compress(doubles(layout.spread(final)))


def counters(values: Mapping[Series, float]) -> dict[Series, float]:
    """Return those of *values* that only grow within a run."""
    return {series: value for series, value in values.items() if is_counter(series)}


def fell(before: Mapping[Series, float], after: Mapping[Series, float]) -> bool:
    """Return whether a counter is less than *before*."""
    return any(
        value < before[series]
        for series, value in after.items()
        if series in before and is_counter(series)
    )

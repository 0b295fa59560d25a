"""The history of all nodes, in one SQLite file: releases by grid time and node, runs, days.

In the usual case a message is the next release of its node, whole, in the layout of the one before,
with the same facts and no counter that fell. Then there is nothing to merge, to refuse or to look
up, and it is one more row of the batch; all else goes to store_merge.py.
"""

from collections.abc import Iterator, Sequence
from math import isfinite
from operator import lt
from pathlib import Path

from trafficd.collector.retention import Kept, Retention
from trafficd.collector.slices import Node, Slice
from trafficd.collector.store_coding import shorten
from trafficd.collector.store_daily import Daily, Day, day_of
from trafficd.collector.store_increase import Increase
from trafficd.collector.store_layouts import Layouts
from trafficd.collector.store_merge import Merger
from trafficd.collector.store_nodes import KnownNode, Nodes
from trafficd.collector.store_rows import Rows
from trafficd.collector.store_runs import Runs
from trafficd.collector.store_schema import open_database, transaction, translated
from trafficd.collector.store_standing import Standing, find_standing
from trafficd.series import Series

_INSERT = "INSERT INTO release (at, node, layout, facts, body) VALUES (?, ?, ?, ?, ?)"


class Store:
    """The file at a path; one thread at a time calls it."""

    def __init__(self, path: Path) -> None:
        """Open the file, and make it if there is none.

        Raises: StoreError if it cannot be had, is another program's, or a newer version's.
        """
        self._path = path
        self._connection = open_database(path)
        self._layouts = Layouts(self._connection)
        self._rows = Rows(self._connection, self._layouts)
        self._runs = Runs(self._connection, self._layouts)
        self._merger = Merger(self._connection, self._layouts, self._rows, self._runs)
        self._daily = Daily(self._connection, self._layouts, self._rows)
        self._nodes = Nodes(self._connection)
        with translated(path):
            self._retention = Retention(
                self._connection, self._rows, self._daily, self._forget_mark
            )
        self._standings: dict[int, Standing] = {}
        # Rows of the batch that are not in the file yet.
        self._new: list[tuple[int, int, int, int | None, bytes]] = []

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def append(self, arrivals: Sequence[tuple[int, Sequence[Slice]]]) -> list[str | None]:
        """Store a batch of messages, each a node's number and what it said; durable on return.

        Returns None for each, or why it is refused; then nothing of it is stored.
        Raises: StoreFullError if there is no room, StoreError if the file cannot be written; then
        nothing of the batch is stored, and the next may be.
        """
        answers: list[str | None] = []
        standings, new = self._standings, self._new
        marked_to = self._retention.marked_to
        try:
            with translated(self._path), transaction(self._connection):
                for number, slices in arrivals:
                    standing = standings.get(number)
                    if standing is not None and len(slices) == 1:
                        at, values = slices[0].at, slices[0].values
                        layout = standing.layout
                        if (
                            at > standing.newest_at
                            and (at > marked_to or day_of(at) == standing.marked_day)
                            and layout is not None
                            and slices[0].series is standing.series
                            and layout.pack_facts(*layout.facts_of(values)) == standing.facts
                        ):
                            totals = layout.totals_of(values)
                            if not any(map(lt, totals, standing.totals)) and isfinite(sum(totals)):
                                body = shorten(layout.pack_totals(*totals))
                                new.append((at, number, layout.number, standing.facts_number, body))
                                standing.newest_at = standing.at = at
                                standing.totals = totals
                                answers.append(None)
                                continue
                    answers.append(self._merge(number, slices))
                self._insert()
        except BaseException:
            self._new.clear()
            for number, _ in arrivals:
                standings.pop(number, None)
            self._layouts.forget()
            self._rows.forget()
            raise
        return answers

    def add_node(self, name: str, location: str, token_hash: bytes) -> Node:
        """Let a node write; one that was revoked gets a new token and its history back.

        Raises: StoreError if it may write already.
        """
        with translated(self._path):
            return self._nodes.add(name, location, token_hash)

    def revoke_node(self, name: str) -> None:
        """Let a node write no more; its history stays.

        Raises: StoreError if there is none of that name that may.
        """
        with translated(self._path):
            self._nodes.revoke(name)

    def nodes(self) -> list[KnownNode]:
        """Return every node there ever was, by number."""
        with translated(self._path):
            return self._nodes.all()

    def nodes_changed(self) -> bool:
        """Return whether another process may have changed them since the last call."""
        with translated(self._path):
            return self._nodes.changed()

    def latest(self) -> Iterator[tuple[Node, Slice]]:
        """Yield of each node that said anything the newest value of every series of its run.

        Shape: by number, at the time of its newest release.
        """
        with translated(self._path):
            for known in self._nodes.all():
                standing = self._standing(known.node.number)
                if standing is not None and standing.at:
                    yield known.node, standing.slice()

    def carried(self) -> Iterator[tuple[Node, dict[Series, float]]]:
        """Yield of each node what its runs that are over had moved when they ended.

        Shape: by number; those without such a run are left out. With latest(), a sum never falls.
        """
        with translated(self._path):
            nodes = {known.node.number: known.node for known in self._nodes.all()}
            sums: dict[int, dict[Series, float]] = {}
            for run in self._runs.finished():
                ended = sums.setdefault(run.node, {})
                for series, value in run.final.items():
                    ended[series] = ended.get(series, 0.0) + value
            yield from ((nodes[number], ended) for number, ended in sums.items())

    def history(self, number: int, since: int, until: int) -> Iterator[Slice]:
        """Yield the releases of node *number* after *since* and up to *until*, in time order."""
        with translated(self._path):
            for row in self._rows.between(number, since, until):
                values = self._rows.values(row)
                yield Slice(row.at, tuple(values), tuple(values.values()))

    def moved(self, number: int, since: int, until: int) -> dict[Series, int]:
        """Return what node *number* moved after *since* and up to *until*, by counter.

        Shape: as store_increase.py has it; empty without a release in that time.
        """
        with translated(self._path):
            increase = Increase(self._rows, since)
            for row in self._rows.back_from(number, since):
                increase.add(row)
            for row in self._rows.between(number, since, until):
                increase.add(row)
            return increase.moved()

    def days(self, number: int, since: int, until: int) -> Iterator[Day]:
        """Yield the days of node *number* that end after *since* and up to *until*, in order."""
        with translated(self._path):
            yield from self._daily.between(number, since, until)

    def tidy(self, now: float, kept: Kept) -> bool:
        """Do one small step of summing up days and deleting; return whether there may be more.

        Raises: StoreFullError if there is no room, StoreError if the file cannot be written.
        """
        try:
            with translated(self._path):
                return self._retention.step(now, kept)
        except BaseException:
            self._layouts.forget()
            self._retention.reread()
            raise

    def _merge(self, number: int, slices: Sequence[Slice]) -> str | None:
        standing = self._standing(number)
        if standing is None:
            return f"node {number}: not known to this collector"
        retention = self._retention
        if len(slices) == 1:
            row = self._merger.next(number, standing, slices[0], retention.marked_to)
            if row is not None:
                self._new.append((row.at, number, row.layout.number, row.facts, row.body))
                return None
        # What the batch has so far must be there to merge with.
        self._insert()
        return self._merger.store(
            number, standing, slices, retention.given_up_to, retention.marked_to
        )

    def _standing(self, number: int) -> Standing | None:
        standing = self._standings.get(number)
        if standing is None:
            standing = find_standing(self._connection, self._rows, self._runs, number)
            if standing is not None:
                self._standings[number] = standing
        return standing

    def _forget_mark(self, number: int) -> None:
        if (standing := self._standings.get(number)) is not None:
            standing.marked_day = None

    def _insert(self) -> None:
        if self._new:
            self._connection.executemany(_INSERT, self._new)
            self._new.clear()

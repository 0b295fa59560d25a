"""Copies of the collector's file while it is written, and a look at whether one is whole."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from trafficd.collector.store_coding import START, decompress
from trafficd.collector.store_layouts import Layouts
from trafficd.collector.store_rows import Row, Rows
from trafficd.collector.store_runs import Runs, counters
from trafficd.collector.store_schema import open_read_only, translated
from trafficd.errors import StoreError, UnknownSeriesError
from trafficd.series import known_series

# Of a file that is damaged more is not worth a look.
_MOST_FINDINGS = 100
# What SQLite says of a file in which it cannot find its way at all.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def back_up(database: Path, target: Path) -> None:
    """Write a copy of *database* to *target*, whole or not at all, while others may write.

    Raises: StoreError if there is such a file already, or it cannot be written.
    """
    unfinished = target.with_name(f"{target.name}.unfinished")
    with translated(target), closing(open_read_only(database)) as source:
        if target.exists():
            raise StoreError(f"{target}: exists already; name another file")
        # Half of one that was killed, or a link to what is not ours to write.
        with suppress(FileNotFoundError):
            unfinished.unlink()
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
                # In one step, hence as of one moment; with more it begins anew at each write.
                source.backup(copy)
                # One file, without a log beside it.
                copy.execute("PRAGMA journal_mode = DELETE")
            _sync(unfinished)
            # Unlike a rename, this refuses a file that came into being meanwhile.
            target.hardlink_to(unfinished)
            _sync(target.parent)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()


def verify(path: Path) -> list[str]:
    """Return what is wrong with the file at *path*, a line each; nothing is a file that is whole.

    Raises: StoreError if it is not a file of ours that can be read.
    """
    with translated(path), closing(open_read_only(path)) as connection:
        # All of it as of one moment.
        connection.execute("BEGIN")
        try:
            return list(islice(_findings(connection), _MOST_FINDINGS))
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in _DAMAGE:
                raise
            return [str(error)]


def _findings(connection: sqlite3.Connection) -> Iterator[str]:
    damage = [line for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"]
    yield from damage
    if damage:
        # What follows would trip over it.
        return
    for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"{table}: a row refers to a {parent} that there is not"
    layouts = Layouts(connection)
    yield from _wrong_layouts(connection, layouts)
    yield from _wrong_releases(connection, layouts)
    yield from _wrong_days(connection, layouts)


def _wrong_layouts(connection: sqlite3.Connection, layouts: Layouts) -> Iterator[str]:
    for (number,) in connection.execute("SELECT number FROM layout").fetchall():
        try:
            for series in layouts.numbered(number).series:
                known_series(series.name, dict(series.labels))
        except (ValueError, UnknownSeriesError) as error:
            yield f"layout {number}: {error}"


def _wrong_releases(connection: sqlite3.Connection, layouts: Layouts) -> Iterator[str]:
    rows, runs = Rows(connection, layouts), Runs(connection, layouts)
    numbers = [number for (number,) in connection.execute("SELECT number FROM node").fetchall()]
    for node in numbers:
        try:
            yield from _wrong_totals(connection, rows, runs, node)
        except ValueError as error:
            yield f"node {node}: {error}"


def _wrong_totals(
    connection: sqlite3.Connection, rows: Rows, runs: Runs, node: int
) -> Iterator[str]:
    """Yield where a run had more than it ended with, or nobody knows of it."""
    (current,) = connection.execute("SELECT run FROM node WHERE number = ?", (node,)).fetchone()
    for row in rows.between(node, 0, 1 << 62):
        values, place = rows.values(row), f"node {node}, release of {row.at}"
        if not values or min(values.values()) < 0:
            yield f"{place}: empty, or below 0"
        yield from _wrong_facts(connection, node, row, place)
        if START not in values:
            continue
        run = runs.find(node, values[START], row.at)
        if run is None or run.started_at != values[START]:
            yield f"{place}: of a run that is not known"
        elif run.number != current:
            for series, value in counters(values).items():
                if value > run.final.get(series, 0):
                    yield f"{place}: {series}: more than its run ended with"


def _wrong_facts(connection: sqlite3.Connection, node: int, row: Row, place: str) -> Iterator[str]:
    found = connection.execute("SELECT node FROM facts WHERE number = ?", (row.facts,)).fetchone()
    if found is not None and found[0] != node:
        yield f"{place}: its facts are another node's"


def _wrong_days(connection: sqlite3.Connection, layouts: Layouts) -> Iterator[str]:
    for node, day, layout, body in connection.execute("SELECT node, day, layout, body FROM daily"):
        try:
            decompress(body, len(layouts.numbered(layout).series))
        except ValueError as error:
            yield f"node {node}, day {day}: {error}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The collector's file: what stands in it, and how it is opened, made and brought up to date.

One writing connection in the daemon; commands and readers have connections of their own beside it,
which write-ahead logging allows.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from trafficd.errors import StoreError, StoreFullError

# "tfcd": says that the file is ours, https://www.sqlite.org/pragma.html#pragma_application_id
APPLICATION_ID = 0x74666364
# A command holds the write lock for one small transaction; a checkpoint for less than a second.
_BUSY_SECONDS = 10.0
# Chosen: releases of one grid point come in any order to the same pages, and a page is copied out
# of the log once a checkpoint. 8 MiB hold what 10,000 nodes say at once some times over.
_CHECKPOINT_PAGES = 2000
_CACHE_KIB = 8192

# Releases are keyed by time first: all nodes say the same grid points, so that what is written
# together lies together, and what is too old is one end of the table.
#
# Pages that retention frees stay in the file for what comes next. Giving them back (auto_vacuum)
# moves pages at every step and costs a pointer map, for a file that fills them again the same day.
_FIRST = """
CREATE TABLE node (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    location TEXT NOT NULL,
    token_hash BLOB NOT NULL,
    added_at INTEGER NOT NULL,
    revoked_at INTEGER,
    run INTEGER REFERENCES run
);
CREATE TABLE layout (
    number INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    series TEXT NOT NULL
);
CREATE TABLE facts (
    number INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES node,
    until INTEGER,
    body BLOB NOT NULL
);
CREATE INDEX facts_until ON facts (until) WHERE until IS NOT NULL;
CREATE TABLE release (
    at INTEGER NOT NULL,
    node INTEGER NOT NULL REFERENCES node,
    layout INTEGER NOT NULL REFERENCES layout,
    facts INTEGER REFERENCES facts,
    body BLOB NOT NULL,
    PRIMARY KEY (at, node)
) WITHOUT ROWID;
CREATE TABLE run (
    number INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES node,
    started_at REAL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    layout INTEGER NOT NULL REFERENCES layout,
    body BLOB NOT NULL
);
CREATE INDEX run_node ON run (node, first_at);
CREATE TABLE daily (
    node INTEGER NOT NULL REFERENCES node,
    day INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    releases INTEGER NOT NULL,
    capacity REAL,
    started_at REAL,
    layout INTEGER NOT NULL REFERENCES layout,
    body BLOB NOT NULL,
    PRIMARY KEY (node, day)
) WITHOUT ROWID;
CREATE TABLE stale (
    day INTEGER NOT NULL,
    node INTEGER NOT NULL REFERENCES node,
    PRIMARY KEY (day, node)
) WITHOUT ROWID;
CREATE TABLE progress (
    name TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID;
"""
# Each brings the file from the version of its place to the next.
MIGRATIONS = (_FIRST,)

# ENOSPC when the log or its index grows; the second is the index's.
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def open_database(path: Path) -> sqlite3.Connection:
    """Return a connection to the file at *path*, made or brought up to date if need be.

    Raises: StoreError if it cannot be had, is another program's, or a newer version's; it is
    left as it is then.
    """
    with translated(path):
        # The hashes of tokens are nobody else's business; the log takes over the mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = connect(path)
        try:
            version = _version(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            if version < len(MIGRATIONS):
                _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def open_read_only(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot write, to a file that is ours and of this version.

    Raises: StoreError if it is not.
    """
    with translated(path):
        if not path.is_file():
            raise StoreError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        connection = connect(path, mode="ro")
        try:
            version = _version(connection, path)
        except BaseException:
            connection.close()
            raise
        if version != len(MIGRATIONS):
            connection.close()
            age = "of an older version" if version else "empty"
            raise StoreError(f"{path}: {age}; start the collector on it once")
        return connection


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """Return a connection without a look at what the file is; transactions are explicit."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        # Its users see to it that one thread at a time calls.
        check_same_thread=False,
    )


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Say in words for people what SQLite or the file system has against the file at *path*.

    Raises: StoreFullError where there is no room, StoreError for all else.
    """
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) in _NO_ROOM:
            raise StoreFullError(f"{path}: no room left on its file system") from error
        raise StoreError(f"{path}: {error}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        # What was read does not decode.
        raise StoreError(f"{path}: {error}; the file is damaged, see verify") from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all of the body or nothing; durable when it ends."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have ended it already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the file, 0 if it is empty.

    Raises: StoreError if it is not ours, or newer than this program.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID:
        raise StoreError(f"{path}: another program's database; name another file")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path}: of version {version}, and this trafficd knows up to {len(MIGRATIONS)};"
            " install the newer one again"
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    with transaction(connection):
        # Looked at again, since two may have started at the same time.
        for version in range(_version(connection, path), len(MIGRATIONS)):
            for statement in MIGRATIONS[version].split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

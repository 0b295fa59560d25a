"""The nodes that may write, or could once: a revoked one's history stays."""

import sqlite3
from dataclasses import dataclass

from trafficd.collector.slices import Node
from trafficd.collector.store_schema import transaction
from trafficd.errors import StoreError


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node as it stands in the file.

    Units: *added_at* and *revoked_at* are UTC seconds; *revoked_at* is None for one that may write.
    """

    node: Node
    token_hash: bytes
    added_at: int
    revoked_at: int | None


class Nodes:
    """The nodes of a file, which a command may change while the daemon runs."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._version = 0

    def add(self, name: str, location: str, token_hash: bytes) -> Node:
        """Let a node write; one that was revoked gets a new token and its history back.

        Raises: StoreError if it may write already.
        """
        with transaction(self._connection):
            known = self._connection.execute(
                "SELECT revoked_at FROM node WHERE name = ?", (name,)
            ).fetchone()
            if known is not None and known[0] is None:
                raise StoreError(f"{name}: is a node already; revoke it first for a new token")
            (number,) = self._connection.execute(
                "INSERT INTO node (name, location, token_hash, added_at)"
                " VALUES (?, ?, ?, strftime('%s', 'now'))"
                " ON CONFLICT (name) DO UPDATE SET location = excluded.location,"
                " token_hash = excluded.token_hash, added_at = excluded.added_at, revoked_at = NULL"
                " RETURNING number",
                (name, location, token_hash),
            ).fetchone()
        return Node(number, name, location)

    def revoke(self, name: str) -> None:
        """Let a node write no more.

        Raises: StoreError if there is none of that name that may.
        """
        with transaction(self._connection):
            changed = self._connection.execute(
                "UPDATE node SET revoked_at = strftime('%s', 'now')"
                " WHERE name = ? AND revoked_at IS NULL",
                (name,),
            ).rowcount
        if not changed:
            raise StoreError(f"{name}: not a node that may write; see list-nodes")

    def all(self) -> list[KnownNode]:
        """Return every node there ever was, by number."""
        found = self._connection.execute(
            "SELECT number, name, location, token_hash, added_at, revoked_at"
            " FROM node ORDER BY number"
        ).fetchall()
        return [
            KnownNode(Node(number, name, location), token_hash, added_at, revoked_at)
            for number, name, location, token_hash, added_at, revoked_at in found
        ]

    def changed(self) -> bool:
        """Return whether another process may have changed them since the last call."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return bool(before != version)

"""Who writes: tokens by their digests, certificates by their names, and what a wrong one costs.

A token is 256 random bits, so its plain SHA-256 tells nobody the token; bcrypt is for passwords.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from trafficd.collector.slices import Node

_TOKEN_BYTES = 32
# Chosen: a fleet whose tokens are all wrong is told so within minutes, and guessing stays hopeless.
FAILURES_AT_ONCE = 200
FAILURES_A_SECOND = 20.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a node's right to write."""

    node: Node
    token_hash: bytes
    is_revoked: bool


_NOBODY = Entry(Node(0, "", ""), bytes(hashlib.sha256().digest_size), is_revoked=True)


def new_token() -> str:
    """Return a token that nobody has."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_of(token: str) -> bytes:
    """Return what is kept of *token*."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class Credentials:
    """The nodes that may write, and those that no longer may."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, Entry] = {}
        self._by_name: dict[str, Entry] = {}
        # Another number after every change: what was found out before no longer counts.
        self.version = 0

    def replace(self, entries: Iterable[Entry]) -> None:
        """Know *entries* and nobody else from now on."""
        known = list(entries)
        self._by_hash = {entry.token_hash: entry for entry in known}
        self._by_name = {entry.node.name: entry for entry in known}
        self.version += 1

    def by_token(self, token: str) -> Entry | None:
        """Return whose *token* it is; that takes as long for a wrong one."""
        digest = hash_of(token)
        entry = self._by_hash.get(digest, _NOBODY)
        return entry if hmac.compare_digest(entry.token_hash, digest) else None

    def by_names(self, names: Iterable[str]) -> Entry | None:
        """Return whose certificate names *names*, which a trusted authority has signed.

        One that names two nodes is nobody's: a credential belongs to one.
        """
        found = [self._by_name[name] for name in set(names) if name in self._by_name]
        return found[0] if len(found) == 1 else None


class FailureLimit:
    """How many wrong credentials are answered, all clients together: nobody is told apart."""

    def __init__(self) -> None:
        self._left = float(FAILURES_AT_ONCE)
        self._counted_at = 0.0

    def allow(self, elapsed_seconds: float) -> bool:
        """Count one more failure, and return whether it is within the limit."""
        gained = max(0.0, elapsed_seconds - self._counted_at) * FAILURES_A_SECOND
        self._left = min(float(FAILURES_AT_ONCE), self._left + gained)
        self._counted_at = elapsed_seconds
        if self._left < 1:
            return False
        self._left -= 1
        return True

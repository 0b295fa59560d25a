"""HTTP basic authentication (RFC 7617) by bcrypt hashes; every wrong login costs the same."""

import asyncio
import base64
import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import bcrypt

# "$2" variant "$" cost "$", then 22 characters of salt and 31 of hash in bcrypt's own base64.
# Variant x marks the hashes of a broken implementation and is not accepted.
_HASH = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$(?P<rest>[./A-Za-z0-9]{53})")

# bcrypt's cost is a power of two, and 4 is the least it knows. Anyone may send a wrong password
# and keep a core busy: about 4 s at 16, hours at 28.
_COSTS = range(4, 17)
# bcrypt reads 72 bytes of a password; what made the hashes cut there as well.
_PASSWORD_BYTES = 72

# Chosen: a core or two may be spent on strangers, and a queue of them must end somewhere.
CONCURRENT_CHECKS = 2
WAITING_CHECKS = 64
# Chosen: far more logins than a file like this has users.
REMEMBERED_LOGINS = 256


class Users:
    """User to bcrypt hash, as found. Never refuses by itself: that would repeat what is there."""

    def __init__(self, found: object) -> None:
        self._found = found if isinstance(found, dict) else None
        self.hashes: dict[str, str] = self._found or {}

    @classmethod
    def parse(cls, value: object) -> Self:
        """Take what stands under ``basic_auth_users``."""
        return cls(value)

    def mistakes(self) -> Iterator[str]:
        """Return a line for every user that cannot be; ``hashes`` holds only if there is none."""
        if self._found is None:
            yield "basic_auth_users: expected users and bcrypt hashes, like `user: $2y$10$...`"
        for user, hashed in self.hashes.items():
            if not isinstance(user, str):
                yield f"basic_auth_users.{user}: a user is text; put it in quotes"
            elif ":" in user:
                yield f"basic_auth_users.{user}: a user has no colon (RFC 7617 section 2)"
            elif problem := _hash_problem(hashed):
                yield f"basic_auth_users.{user}: {problem}"


class Credentials:
    """The users who may read, and the logins already verified.

    A verified login is remembered as a digest under a key of this object: there is no password to
    find in memory, and new Credentials remember nothing.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        """Take *hashes*, user to bcrypt hash; each has passed ``Users.mistakes``."""
        self._hashes = {user.encode(): text.encode() for user, text in hashes.items()}
        self._highest_cost = max(map(_cost, self._hashes.values()), default=_COSTS[0])
        self._digest_key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        # Threads of its own, where asyncio.to_thread and a semaphore would do less: a request that
        # is cancelled gives the semaphore back while its thread goes on.
        self._threads = ThreadPoolExecutor(CONCURRENT_CHECKS, thread_name_prefix="bcrypt")
        self._waiting = 0

    async def allow(self, authorization: str | None) -> bool:
        """Return whether this Authorization header names a user and that user's password.

        A login that is not remembered is refused unchecked while WAITING_CHECKS others wait.
        """
        login = _login(authorization)
        if login is None:
            return False
        digest = hashlib.blake2b(login, key=self._digest_key, digest_size=32).digest()
        if digest in self._verified:
            self._verified.move_to_end(digest)
            return True
        if self._waiting >= WAITING_CHECKS:
            return False
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            is_right = await loop.run_in_executor(self._threads, self._is_right, login)
        finally:
            self._waiting -= 1
        if is_right:
            self._verified[digest] = None
            if len(self._verified) > REMEMBERED_LOGINS:
                self._verified.popitem(last=False)
        return is_right

    def _is_right(self, login: bytes) -> bool:
        user, _, password = login.partition(b":")
        # A list, not a generator: all are computed, whatever the first says.
        matches = [
            bcrypt.checkpw(password[:_PASSWORD_BYTES], each) for each in self._hashes_to_check(user)
        ]
        return user in self._hashes and matches[0]

    def _hashes_to_check(self, user: bytes) -> list[bytes]:
        """Return the hash of *user*, or nobody's, and the ones that make every list cost the same.

        A step of the cost doubles the work, and 2**c + (2**c + 2**(c+1) + ... + 2**(m-1)) = 2**m.
        """
        own = self._hashes.get(user, _hash_of_nobody(self._highest_cost))
        return [own, *map(_hash_of_nobody, range(_cost(own), self._highest_cost))]


def _hash_problem(text: object) -> str | None:
    """Return what is wrong with *text* as a bcrypt hash, without repeating any of it."""
    parts = _HASH.fullmatch(text) if isinstance(text, str) else None
    if parts is None:
        return 'not a bcrypt hash; htpasswd -nBC 10 "" makes one'
    cost = int(parts["cost"])
    if cost not in _COSTS:
        return f"bcrypt cost {cost}: from {_COSTS[0]} to {_COSTS[-1]}"
    try:
        # Not every 22 characters are a salt. The library says which are, here at its lowest cost.
        bcrypt.checkpw(b"", _hash_of_nobody(_COSTS[0])[:7] + parts["rest"].encode())
    except ValueError:
        return 'not a bcrypt hash; htpasswd -nBC 10 "" makes one'
    return None


def _login(authorization: str | None) -> bytes | None:
    """Return ``user:password`` out of a header, or None where it holds no such thing."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        login = base64.b64decode(encoded.strip(" "), validate=True)
    except ValueError:
        return None
    # RFC 7617 section 2: the user is what stands before the first colon.
    return login if b":" in login else None


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])


def _hash_of_nobody(cost: int) -> bytes:
    """Return a hash that takes as long as any of its *cost*; no known password has it."""
    return b"$2b$%02d$" % cost + b"." * 53

"""Hosts by their names: /etc/hosts, then the nameservers of resolv.conf(5).

The C library's getaddrinfo(3) looks at files whenever it is asked, and at whether files exist, so a
process that may call it can find out about links and users by their paths. Here both files are read
once, before the exporter is locked, and what is left is a question in a datagram.
"""

import asyncio
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from aiohttp.abc import AbstractResolver, ResolveResult

from trafficd.exporter.dns import (
    DATAGRAM_BYTES,
    Kind,
    NoAnswerError,
    NotAnAnswerError,
    addresses,
    question,
)

HOSTS, RESOLV_CONF = Path("/etc/hosts"), Path("/etc/resolv.conf")
_PORT = 53
# resolv.conf(5): MAXNS, what is asked where the file names none, and attempts.
_MOST_SERVERS = 3
_DEFAULT_SERVER = "127.0.0.1"
_ROUNDS = 2
# Chosen: less than the 5 s there, since a whole push has 30 s by default.
_SECONDS = 2.0
# RFC 6761 section 6.3, whatever the files say.
_LOCALHOST = ("::1", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class NameService:
    """Whom to ask for a name: what the two files said."""

    servers: tuple[str, ...]
    search: tuple[str, ...] = ()
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    port: int = _PORT

    @classmethod
    def of_this_host(cls, hosts: Path = HOSTS, resolv_conf: Path = RESOLV_CONF) -> Self:
        """Return what the files say; one that is not there says nothing."""
        servers, search = _configured(_lines(resolv_conf))
        return cls(servers, search, _known(_lines(hosts)))

    def candidates(self, name: str) -> list[str]:
        """Return the names that may be meant, the likeliest first (resolv.conf(5), ndots:1)."""
        if name.endswith("."):
            return [name]
        longer = [f"{name}.{domain}" for domain in self.search]
        return [name, *longer] if "." in name else [*longer, name]


class Names(AbstractResolver):
    """Resolves names for one aiohttp client."""

    def __init__(self, service: NameService) -> None:
        self._service = service

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of *host*, IPv6 first (RFC 6724, RFC 8305).

        Raises: OSError if it has none, or nobody can say.
        """
        found = await self._find(host)
        results = [
            ResolveResult(
                hostname=host, host=each, port=port, family=family_of(each), proto=0, flags=0
            )
            for each in found
        ]
        wanted = [each for each in results if family in (socket.AF_UNSPEC, each["family"])]
        if not wanted:
            raise OSError(None, "no such host")
        return wanted

    async def close(self) -> None:
        """Close nothing: sockets live as long as a question."""

    async def _find(self, host: str) -> Sequence[str]:
        name = host.lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):
            return _LOCALHOST
        if name in self._service.hosts:
            return self._service.hosts[name]
        for candidate in self._service.candidates(host.lower()):
            if found := await self._ask_all(candidate):
                return found
        return ()

    async def _ask_all(self, name: str) -> list[str]:
        """Return what the first nameserver says that can answer."""
        for _ in range(_ROUNDS):
            for server in self._service.servers:
                try:
                    return await self._ask(server, name)
                except (OSError, NoAnswerError):
                    continue
        raise OSError(None, "no nameserver answers")

    async def _ask(self, server: str, name: str) -> list[str]:
        """Ask one nameserver for both kinds of address.

        Raises: OSError if it is not there, TimeoutError if it is silent, NoAnswerError.
        """
        loop = asyncio.get_running_loop()
        # A socket for each question: its port is of the kernel's choice, which nobody can guess.
        with socket.socket(family_of(server), socket.SOCK_DGRAM) as opened:
            opened.setblocking(False)
            opened.connect((server, self._service.port))
            missing = {kind: secrets.randbits(16) for kind in (Kind.AAAA, Kind.A)}
            for kind, identity in missing.items():
                await loop.sock_sendall(opened, question(identity, name, kind))
            found: dict[Kind, list[str] | None] = {}
            try:
                async with asyncio.timeout(_SECONDS):
                    while missing:
                        answer = await loop.sock_recv(opened, DATAGRAM_BYTES)
                        _take(answer, name, missing, found)
            except TimeoutError:
                # Some firewalls lose questions for one kind.
                if not any(found.values()):
                    raise
        both = [*(found.get(Kind.AAAA) or ()), *(found.get(Kind.A) or ())]
        if not both and None in found.values():
            raise NoAnswerError("the nameserver could not answer")
        return both


def _take(
    answer: bytes, name: str, missing: dict[Kind, int], found: dict[Kind, list[str] | None]
) -> None:
    """Move the kind that *answer* is about from *missing* to *found*: None if it cannot be said."""
    for kind, identity in missing.items():
        try:
            found[kind] = addresses(answer, identity, name, kind)
        except NotAnAnswerError:
            continue
        except NoAnswerError:
            # Some balancers have addresses of one kind, and fail when asked for the other.
            found[kind] = None
        del missing[kind]
        return


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address that is written in digits."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _lines(file: Path) -> Iterator[list[str]]:
    """Yield the words of each line that says something."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        # Both may be missing (hosts(5), resolv.conf(5)).
        return
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if len(words) > 1:
            yield words


def _configured(lines: Iterable[list[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the nameservers, and the domains that a short name may be in."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for key, *values in lines:
        # A server on a link, with that link's name behind %, is not asked.
        if key == "nameserver" and _is_address(values[0]):
            servers.append(values[0])
        elif key in ("search", "domain"):
            search = tuple(each.strip(".").lower() for each in values if each.strip("."))
    return tuple(servers[:_MOST_SERVERS]) or (_DEFAULT_SERVER,), search


def _known(lines: Iterable[list[str]]) -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {}
    for address, *names in lines:
        if _is_address(address):
            for name in names:
                key = name.lower().rstrip(".")
                known[key] = (*known.get(key, ()), address)
    return known


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text

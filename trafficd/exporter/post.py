"""One try to hand a release to a destination, by HTTP, and what its answer means.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/, "Protocol" and "Retries and
Backoff"; of 1.0 the same sections.
"""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, auto
from http import HTTPStatus
from typing import Any

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

from trafficd.destinations import Destination
from trafficd.exporter.credentials import Credentials
from trafficd.exporter.names import Names, NameService
from trafficd.exporter.retry import wished_seconds
from trafficd.wire.remote_write import HEADERS, Protocol

# A receiver of 2.0 says how much it has written; one of 1.0 knows no such header.
_WRITTEN = "X-Prometheus-Remote-Write-Samples-Written"
# What an operator is told of an answer is its first line, and no more of it is read.
_READ_BYTES = 2048
_LONGEST_LINE = 200
# aiohttp would ask for compressed answers, of which we read no line.
_LEFT_OUT = ("Accept", "Accept-Encoding")


class Outcome(StrEnum):
    """What became of a try."""

    TAKEN = auto()
    UNAVAILABLE = auto()  # nobody there, or not now: the release is kept
    REFUSED = auto()  # for good: the release is dropped
    OTHER_PROTOCOL = auto()  # it does not know 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination said to one try.

    *line* is the first of its answer, where it refused; *wish_seconds* what Retry-After asks for.
    """

    outcome: Outcome
    status: int = 0
    line: str = ""
    wish_seconds: float = 0.0


def judged(status: int, protocol: Protocol, *, says_written: bool) -> Outcome:
    """Return what an answer of *status* means for a release that was sent in *protocol*."""
    is_second = protocol is Protocol.V2
    if 200 <= status < 300:
        # Some that do not know 2.0 answer so and have stored nothing.
        return Outcome.TAKEN if says_written or not is_second else Outcome.OTHER_PROTOCOL
    if is_second and status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return Outcome.OTHER_PROTOCOL
    if 400 <= status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS:
        return Outcome.REFUSED
    # Its fault, or a redirection, which is not followed: the message is for this address alone.
    return Outcome.UNAVAILABLE


class Post:
    """The way to one destination; one message at a time."""

    def __init__(
        self, destination: Destination, credentials: Credentials, names: NameService
    ) -> None:
        """Open nothing yet; called in a running loop."""
        self._url = URL(destination.url, encoded=True)
        if destination.url.is_tls:
            # ssl writes every host's name by it, and a locked process can load nothing.
            codecs.lookup("idna")
        self._headers = dict(destination.headers.by_name)
        self._credentials = credentials
        self._session = ClientSession(
            connector=TCPConnector(limit=1, resolver=Names(names), use_dns_cache=False),
            timeout=ClientTimeout(total=float(destination.timeout)),
            cookie_jar=DummyCookieJar(),
            skip_auto_headers=_LEFT_OUT,
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._session.close()

    async def send(self, block: bytes, protocol: Protocol, now: Callable[[], float]) -> Answer:
        """Return what the destination says to *block*, a message in a snappy block.

        Units: *now* returns UTC seconds.
        """
        headers = {**self._headers, **HEADERS[protocol], **self._credentials.authorization}
        context = self._credentials.tls
        try:
            async with self._session.post(
                self._url,
                data=block,
                headers=headers,
                ssl=True if context is None else context,
                allow_redirects=False,
            ) as response:
                return await _read(response, protocol, now)
        except (ClientError, OSError, ValueError):
            # Also what is no HTTP, and a timeout. ValueError is what aiohttp lets through of an
            # answer that it cannot parse.
            return Answer(Outcome.UNAVAILABLE)


async def _read(response: ClientResponse, protocol: Protocol, now: Callable[[], float]) -> Answer:
    status, said = response.status, response.headers
    outcome = judged(status, protocol, says_written=_WRITTEN in said)
    line = await _first_line(response) if outcome is Outcome.REFUSED else ""
    # A body that is still under way goes with its connection.
    if not response.content.at_eof():
        response.close()
    if outcome is not Outcome.UNAVAILABLE:
        return Answer(outcome, status, line)
    wish = wished_seconds(said.get("Retry-After"), said.get("Date"), now())
    return Answer(outcome, status, wish_seconds=wish)


async def _first_line(response: ClientResponse) -> str:
    """Return the first line of the body as far as it came, in what can be printed of ASCII."""
    body = b""
    try:
        while len(body) < _READ_BYTES and b"\n" not in body.lstrip():
            more = await response.content.read(_READ_BYTES)
            if not more:
                break
            body += more
    except (ClientError, OSError, ValueError):
        pass  # the status is known, and it decides
    return printable(body)


def printable(body: bytes) -> str:
    """Return the first line of a foreign *body* as a log may have it."""
    first: Any = body.lstrip().partition(b"\n")[0].decode("ascii", errors="replace")
    return re.sub(r"[^ -~]", "?", first.strip())[:_LONGEST_LINE]

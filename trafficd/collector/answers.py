"""Answers to pushed messages, and how each is counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from http import HTTPStatus
from types import MappingProxyType

from trafficd.errors import Refused
from trafficd.wire.remote_write import Protocol

# Senders retry 503 by their own backoff; this is for those that ask how long.
_BUSY_SECONDS = 5
_FULL_SECONDS = 60
_LIMITED_SECONDS = 10
# Reasons repeat what was sent, in part.
_LONGEST_REASON = 400

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Result(StrEnum):
    """What became of a message; the values are those of the label ``result``."""

    STORED = "stored"
    UNKNOWN_CREDENTIAL = "unknown_credential"
    REVOKED_CREDENTIAL = "revoked_credential"
    TOO_MANY_FAILURES = "too_many_failures"
    UNSUPPORTED = "unsupported"  # another type or encoding
    TOO_LARGE = "too_large"
    MALFORMED = str(Refused.MALFORMED)
    IDENTITY = str(Refused.IDENTITY)
    SERIES = str(Refused.SERIES)
    VALUE = str(Refused.VALUE)
    TIME = str(Refused.TIME)
    CONFLICT = str(Refused.CONFLICT)
    BUSY = "busy"
    FULL = "full"


@dataclass(frozen=True)
class Answer:
    """What a sender hears, and what of it is counted."""

    result: Result
    status: HTTPStatus
    text: str
    headers: Mapping[str, str]

    @cached_property
    def body(self) -> bytes:
        """The body."""
        return f"{self.text}\n".encode() if self.text else b""

    @cached_property
    def head(self) -> bytes:
        """What of the head is its own, in HTTP/1.1."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body:
            lines.append("Content-Type: text/plain; charset=utf-8")
            lines.append(f"Content-Length: {len(self.body)}")
        return "".join(f"{line}\r\n" for line in lines).encode()


@lru_cache(maxsize=512)
def stored(protocol: Protocol, samples: int) -> Answer:
    """Return the answer to a message that is durable."""
    return Answer(Result.STORED, HTTPStatus.NO_CONTENT, "", _written(protocol, samples))


def refused(
    result: Result,
    status: HTTPStatus,
    reason: str,
    protocol: Protocol | None = None,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Answer:
    """Return the answer to a message of which nothing is stored, with *reason* on one line."""
    line = "".join(each if each.isprintable() else " " for each in reason)
    if len(line) > _LONGEST_REASON:
        line = f"{line[:_LONGEST_REASON]}..."
    return Answer(result, status, line, {**headers, **_written(protocol, 0)})


def busy(protocol: Protocol) -> Answer:
    """Return the answer where too many messages wait already."""
    return _later(Result.BUSY, "too many messages wait to be stored", _BUSY_SECONDS, protocol)


def full(protocol: Protocol) -> Answer:
    """Return the answer where there is no room."""
    return _later(Result.FULL, "no room to store releases", _FULL_SECONDS, protocol)


def limited(protocol: Protocol | None) -> Answer:
    """Return the answer to one wrong credential too many."""
    return refused(
        Result.TOO_MANY_FAILURES,
        HTTPStatus.TOO_MANY_REQUESTS,
        "too many wrong credentials; try again later",
        protocol,
        {"Retry-After": str(_LIMITED_SECONDS)},
    )


def _later(result: Result, reason: str, seconds: int, protocol: Protocol) -> Answer:
    wait = {"Retry-After": str(seconds)}
    return refused(result, HTTPStatus.SERVICE_UNAVAILABLE, reason, protocol, wait)


def _written(protocol: Protocol | None, samples: int) -> Mapping[str, str]:
    """Return the headers that version 2.0 demands of every answer, and 1.0 does not know."""
    if protocol is not Protocol.V2:
        return _NO_HEADERS
    return {
        "X-Prometheus-Remote-Write-Samples-Written": str(samples),
        "X-Prometheus-Remote-Write-Histograms-Written": "0",
        "X-Prometheus-Remote-Write-Exemplars-Written": "0",
    }

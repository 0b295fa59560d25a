"""The head of a push as every usual sender writes it; anything else is left to aiohttp's parser.

What is read here has one meaning only: ``POST /api/v1/write`` in HTTP/1.1 with one Content-Length,
no transfer coding, nothing to expect or to upgrade to, each header on a line of its own and each
that matters once (RFC 9112, 2.2, 5.1, 6).
"""

import re
from dataclasses import dataclass

from trafficd.collector.reception import Headers

WRITE_PATH = "/api/v1/write"
END_OF_HEAD = b"\r\n\r\n"

_HEAD = re.compile(
    rb"POST " + re.escape(WRITE_PATH.encode()) + rb" HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
)
_LENGTH = re.compile(rb"[0-9]{1,9}")
_ONCE = {
    *(b"host", b"connection", b"content-length"),
    *(b"authorization", b"content-type", b"content-encoding"),
}
_ELSEWHERE = {b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te"}


@dataclass(frozen=True, slots=True)
class PlainHead:
    """What a head says."""

    headers: Headers
    body_bytes: int


def read_head(head: bytes) -> PlainHead | None:
    """Return what *head* says, or None if it is not one of the usual kind."""
    match = _HEAD.fullmatch(head)
    if match is None:
        return None
    found: dict[bytes, bytes] = {}
    for line in match[1].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in _ELSEWHERE or (name in _ONCE and name in found):
            return None
        found[name] = value.strip(b" \t")
    length = found.get(b"content-length", b"")
    if b"host" not in found or not _LENGTH.fullmatch(length):
        return None
    if found.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    headers = Headers(
        _text(found.get(b"authorization")),
        _text(found.get(b"content-type")),
        _text(found.get(b"content-encoding")),
    )
    return PlainHead(headers, int(length))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")

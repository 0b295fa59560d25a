"""What we read of a head ourselves means the same to aiohttp's parser, or we do not read it."""

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trafficd.collector.plain_request import PlainHead, read_head
from trafficd.collector.reception import Headers

USUAL = (
    b"POST /api/v1/write HTTP/1.1\r\nHost: collector:9788\r\nUser-Agent: x/1\r\n"
    b"Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n"
    b"Authorization: Bearer abc\r\nContent-Length: 5\r\n\r\n"
)
NAMES = (
    b"Host", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Connection", b"Expect",
    b"Authorization", b"Content-Type", b"Content-Encoding", b"Upgrade", b"X", b"", b" X", b"X ",
    b"TE", b"Trailer", b"Content_Length", b"Content-Length\x00", b"\xc3\xa9", b"Proxy-Connection",
)  # fmt: skip
VALUES = (
    b"5", b"05", b"+5", b"-5", b"5, 5", b"0x5", b"5 ", b"", b"chunked", b"close", b"keep-alive",
    b"100-continue", b"snappy", b"a\tb", b"a\x00b", b"a\rb", b"a\nb", b"\xe9", b"x" * 9000,
    b"\xd9\xa5", b"9999999999",
)  # fmt: skip
LINES = (
    b"POST /api/v1/write HTTP/1.1", b"POST  /api/v1/write HTTP/1.1", b"POST /api/v1/write HTTP/1.0",
    b"post /api/v1/write HTTP/1.1", b"POST /api/v1/write?x HTTP/1.1", b"POST /api/v1/write HTTP/2",
    b"POST http://x/api/v1/write HTTP/1.1", b"POST /api/v1/%77rite HTTP/1.1", b"GET / HTTP/1.1",
)  # fmt: skip
HEADERS = st.tuples(st.sampled_from(NAMES), st.sampled_from([b":", b": ", b" : "]),
                    st.sampled_from(VALUES)).map(b"".join)  # fmt: skip
HEADS = st.builds(
    lambda line, headers, end: end.join([line, *headers, b"", b""]),
    st.sampled_from(LINES),
    # Some of the usual ones, so that another takes the place of one that may stand but once.
    st.lists(st.sampled_from(USUAL.split(b"\r\n")[1:-2]), unique=True, min_size=4).flatmap(
        lambda usual: st.lists(HEADERS, max_size=3).flatmap(
            lambda more: st.permutations([*usual, *more])
        )
    ),
    st.sampled_from([b"\r\n"] * 9 + [b"\n"]),
)


def parsed(head: bytes) -> Any:
    """Return the one message that aiohttp's parser sees in *head*, or None if it refuses it."""
    loop = asyncio.new_event_loop()
    parser = HttpRequestParser(Mock(), loop, 2**16, max_line_size=16384, max_field_size=16384)
    try:
        messages, is_upgraded, rest = parser.feed_data(head)
    except HttpProcessingError:
        return None
    finally:
        loop.close()
    assert (len(messages), is_upgraded, rest) == (1, False, b"")
    return messages[0][0]


def test_a_usual_head_is_read() -> None:
    assert read_head(USUAL) == PlainHead(
        Headers("Bearer abc", "application/x-protobuf", "snappy"), 5
    )


@settings(max_examples=500, deadline=None)
@given(HEADS)
@example(USUAL)
@example(USUAL.replace(b"Host", b"Connection: close\r\nConnection: keep-alive\r\nHost"))
@example(USUAL.replace(b"Length: 5", b"Length: 05"))
@example(USUAL.replace(b"Host", b"X\r\nHost"))
@example(USUAL.replace(b"Host", b" folded: x\r\nHost"))
def test_what_is_read_is_what_a_whole_parser_reads(head: bytes) -> None:
    ours = read_head(head)

    if ours is None:
        return
    theirs = parsed(head)
    assert theirs is not None
    assert (theirs.method, theirs.path, theirs.version) == ("POST", "/api/v1/write", (1, 1))
    assert [int(each) for each in theirs.headers.getall("Content-Length")] == [ours.body_bytes]
    assert (theirs.chunked, theirs.upgrade, theirs.should_close) == (False, False, False)
    said = ours.headers
    for name, value in (
        ("Authorization", said.authorization),
        ("Content-Type", said.content_type),
        ("Content-Encoding", said.content_encoding),
    ):
        assert theirs.headers.getall(name, []) == ([] if value is None else [value])


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 5",
        b"Content-Length: 6",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: identity",
        b"Expect: 100-continue",
        b"Connection: close",
        b"Connection: upgrade",
        b"Upgrade: h2c",
        b"Host: another",
        b"Authorization: Bearer other",
        b"Content-Type: application/json",
        b" folded",
        b"bare",
        b"X : y",
        b"X: a\rb",
        b"X: a\x00b",
    ],
)
def test_a_head_with_two_meanings_is_left_to_the_whole_parser(line: bytes) -> None:
    head = USUAL.replace(b"User-Agent: x/1", line)

    assert read_head(head) is None


@pytest.mark.parametrize("missing", [b"Host: collector:9788\r\n", b"Content-Length: 5\r\n"])
def test_a_head_without_what_has_to_be_there_is_left_to_the_whole_parser(missing: bytes) -> None:
    assert read_head(USUAL.replace(missing, b"")) is None

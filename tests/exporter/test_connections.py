"""Connections that do not behave: real sockets against the server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from trafficd.exporter.http import MetricsServer, open_listeners
from trafficd.releases import Release, Totals
from trafficd.service import connections
from trafficd.service.web_config import WebConfig
from trafficd.units import ListenAddress

RELEASE = Release(7200, 3600, 0, Totals(), Totals(), ())


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listeners = open_listeners([ListenAddress("127.0.0.1:0")])
    server = MetricsServer(listeners, "/metrics")
    await server.start(WebConfig.nothing())
    server.show(RELEASE)
    yield listeners[0].getsockname()[1]
    await server.close()


async def answer_to(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has ended the connection, in whatever way."""
    try:
        async with asyncio.timeout(10):
            return not await reader.read()
    except ConnectionResetError:
        return True


async def test_a_client_that_never_asks_is_let_go(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_FIRST_REQUEST_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HT")

    assert await ended(reader)

    writer.close()


async def test_a_client_that_asked_keeps_its_connection(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_FIRST_REQUEST_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

    answers = []
    for _ in range(3):
        writer.write(asked)
        async with asyncio.timeout(10):
            answers.append(await reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(0.06)  # longer than a silent client has

    assert [each.split()[1] for each in answers] == [b"200"] * 3
    writer.close()


async def test_one_connection_too_many_is_ended_and_the_others_live(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    first = await asyncio.open_connection("127.0.0.1", port)
    second = await asyncio.open_connection("127.0.0.1", port)
    third = await asyncio.open_connection("127.0.0.1", port)

    assert await ended(third[0])
    first[1].write(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        assert (await first[0].read()).startswith(b"HTTP/1.1 200")

    for _, writer in (first, second, third):
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"garbage\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_http_is_told_so_and_nothing_of_the_library(
    port: int, request_bytes: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = await answer_to(port, request_bytes)

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"Server: trafficd\r\n" in answer
    assert b"aiohttp" not in answer
    assert b"a" * 100 not in answer
    assert capfd.readouterr().err == ""

"""Connections as senders and strangers use them: real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collector.pushing import (
    AMS,
    MIB,
    Collected,
    collecting,
    headers,
    push,
    request,
)
from trafficd.collector import connection
from trafficd.collector.connection import IDLE_SECONDS, REQUEST_SECONDS, Door
from trafficd.collector.reception import MOST_BODY_BYTES
from trafficd.service.web_config import WebConfig


@pytest.fixture
async def served() -> AsyncIterator[Collected]:
    async with collecting() as collected:
        yield collected


def door(served: Collected) -> Door:
    assert served.server._door is not None
    return served.server._door


def held(served: Collected) -> int:
    """Return how many bytes of requests are held."""
    return sum(len(each._held) for each in door(served)._connections)


async def until(condition: object) -> None:
    """Wait for *condition*, which other callbacks of this loop bring about."""
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # there is nothing else to wait on
            await asyncio.sleep(0)


PUSHES = [
    request(push(1 * MIB), headers()),
    request(push(2 * MIB, node=AMS), headers(AMS)),
    request(push(3 * MIB), headers(None)),
    request(b"corrupt", headers()),
    request(push(4 * MIB), headers()),
    request(push(5 * MIB), {**headers(), "Connection": "keep-alive, x"}),
    request(b"", {}, line="GET /x"),
    request(push(6 * MIB), headers()),
]
STATUSES = [204, 204, 401, 400, 204, 204, 404, 204]


@settings(max_examples=30)
@given(
    cuts=st.lists(st.integers(0, sum(map(len, PUSHES))), max_size=30),
    count=st.integers(1, len(PUSHES)),
)
def test_requests_are_answered_in_their_order_however_they_are_cut(
    cuts: list[int], count: int
) -> None:
    whole = b"".join(PUSHES[:count])
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})

    async def asked() -> tuple[list[int], list[float]]:
        async with collecting() as served, served.line() as line:
            for start, stop in pairwise(edges):
                line.writer.write(whole[start:stop])
                await line.writer.drain()
                for _ in range(4):  # the server is in the same loop, and reads it piece by piece
                    await asyncio.sleep(0)
            statuses = [(await line.answer()).status for _ in range(count)]
            return statuses, [total for *_, each in served.values() for total in each.values()]

    statuses, totals = asyncio.run(asked())

    assert statuses == STATUSES[:count]
    stored = [MIB * total for total in (1, 2, None, None, 4, 5, None, 6)[:count] if total]
    assert totals == stored


async def test_a_refused_body_is_not_kept(served: Collected) -> None:
    whole = request(b"\0" * MOST_BODY_BYTES, headers(None))

    async with served.line() as line:
        for start in range(0, len(whole), 100_000):
            line.writer.write(whole[start : start + 100_000])
            await line.writer.drain()
            await asyncio.sleep(0)
            (one,) = door(served)._connections
            assert len(one._held) < 16_384
        refused = await line.answer()
        taken = await line.ask(request(push(), headers()))

    assert (refused.status, taken.status) == (401, 204)


async def test_parts_of_bodies_have_a_bound_together(
    served: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_MOST_HELD_BYTES", 1000)
    long = request(b"\0" * 900, headers())

    async with served.line() as one, served.line() as two:
        one.writer.write(long[:-1])
        await until(lambda: door(served)._held_bytes)
        whole = await two.ask(long)
        two.writer.write(long[:-1])
        await until(lambda: any(each._to_skip for each in door(served)._connections))
        two.writer.write(long[-1:])
        refused = await two.answer()
        corrupt = await one.ask(long[-1:])

    assert whole.status == 400
    assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (503, True)
    assert corrupt.status == 400
    await until(lambda: not door(served).count)
    assert door(served)._held_bytes == 0


async def test_a_connection_that_breaks_off_gives_its_room_back(served: Collected) -> None:
    async with served.line() as line:
        line.writer.write(request(push(), headers())[:-1])
        await until(lambda: door(served)._held_bytes)

    await until(lambda: not door(served).count)
    assert door(served)._held_bytes == 0


@pytest.mark.parametrize("sent", [b"", b"POST /api/v1/wr", request(push(), headers())[:-1]])
async def test_a_request_that_does_not_come_is_not_waited_for(
    served: Collected, sent: bytes
) -> None:
    async with served.line() as line:
        line.writer.write(sent)
        await until(lambda: door(served).count and held(served) == len(sent))
        served.clock.advance(REQUEST_SECONDS - 1)
        door(served).sweep()
        kept = door(served).count
        served.clock.advance(1)
        door(served).sweep()

        assert await line.is_ended()

    assert (kept, door(served).count) == (1, 0)


async def test_bytes_that_trickle_in_prolong_nothing(served: Collected) -> None:
    whole = request(push(), headers())

    async with served.line() as line:
        for count, byte in enumerate(whole[: int(REQUEST_SECONDS)]):
            line.writer.write(bytes([byte]))
            await until(lambda: held(served) > count)  # noqa: B023  # awaited before the next
            served.clock.advance(1)
            door(served).sweep()

        assert await line.is_ended()


async def test_a_sender_may_keep_its_connection_for_a_while(served: Collected) -> None:
    asked = request(push(), headers())

    async with served.line() as line:
        answers = [await line.ask(asked)]
        for _ in range(3):
            served.clock.advance(IDLE_SECONDS - 1)
            door(served).sweep()
            answers.append(await line.ask(asked))
        served.clock.advance(IDLE_SECONDS)
        door(served).sweep()

        assert await line.is_ended()

    assert [each.status for each in answers] == [204] * 4


async def test_those_that_wait_for_nothing_make_room_for_who_comes() -> None:
    asked = request(push(), headers())

    async with (
        collecting(most_connections=2) as served,
        served.line() as one,
        served.line() as two,
    ):
        for line in (one, two):
            assert (await line.ask(asked)).status == 204
        async with served.line() as three:
            assert (await three.ask(asked)).status == 204

            assert await one.is_ended()
            assert await two.is_ended()
            assert door(served).count == 1


async def test_one_too_many_is_ended_and_the_others_live() -> None:
    asked = request(push(), headers())

    async with (
        collecting(most_connections=2) as served,
        served.line() as one,
        served.line() as two,
    ):
        # They have begun to ask, and are not idle.
        one.writer.write(asked[:-1])
        two.writer.write(asked[:-1])
        await until(lambda: door(served)._held_bytes == 2 * len(push()))
        async with served.line() as three:
            assert await three.is_ended()
        answers = [await line.ask(asked[-1:]) for line in (one, two)]

    assert [each.status for each in answers] == [204, 204]


async def test_a_sender_that_does_not_read_its_answers_is_let_go(served: Collected) -> None:
    asked = request(b"corrupt", headers()) * 200
    client = socket.create_connection(("127.0.0.1", served.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)

    with client:
        await until(lambda: door(served).count)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            async with asyncio.timeout(20):
                while True:
                    await loop.sock_sendall(client, asked)

    await until(lambda: not door(served).count)


async def test_a_sender_may_close_its_side_and_wait_for_the_answer() -> None:
    gate = asyncio.Event()

    async with collecting(gate=gate) as served, served.line() as line:
        line.writer.write(request(push(), headers()))
        line.writer.write_eof()
        await until(lambda: any(each._is_at_end for each in door(served)._connections))
        gate.set()
        answer = await line.answer()

        assert await line.is_ended()

    assert answer.status == 204


async def test_a_server_that_is_closed_gives_the_answers_it_owes() -> None:
    gate = asyncio.Event()

    async with collecting(gate=gate) as served, served.line() as line, served.line() as idle:
        assert (await idle.ask(request(b"corrupt", headers()))).status == 400
        line.writer.write(request(push(), headers()))
        await until(lambda: any(each._is_busy for each in door(served)._connections))
        await served.server.close()
        assert await idle.is_ended()
        gate.set()
        answer = await line.answer()

        assert (answer.status, answer.headers["Connection"]) == (204, "close")
        assert await line.is_ended()


async def test_a_sender_that_left_before_its_answer_hurts_nobody(served: Collected) -> None:
    async with served.line() as line:
        line.writer.write(request(push(), headers()))
        await line.writer.drain()

    assert (await served.push(push(2 * MIB))).status == 204


async def test_what_is_sent_ahead_is_bounded() -> None:
    gate, asked, count = asyncio.Event(), request(push(), headers()), 20_000

    async with collecting(gate=gate) as served, served.line() as line:
        line.writer.write(asked * count)
        (one,) = await first(served)
        await until(lambda: one._is_paused)
        for _ in range(500):  # both ends are in this loop, and could go on all that time
            await asyncio.sleep(0)
        # What the loop reads at a time comes on top (asyncio's 256 KiB).
        assert len(one._held) < 400_000
        gate.set()
        for _ in range(count):
            assert (await line.answer()).status == 204

    assert len(served.stored) == count


async def first(served: Collected) -> list[connection.Connection]:
    """Return the connections, when there is one."""
    await until(lambda: door(served).count)
    return list(door(served)._connections)


async def test_a_connection_made_while_its_door_closes_is_ended(served: Collected) -> None:
    # A handshake that began before the web config was reread may end after it.
    before, loop = door(served), asyncio.get_running_loop()
    await served.server.start(WebConfig.nothing())
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    with theirs:
        await loop.connect_accepted_socket(before, ours)
        async with asyncio.timeout(10):
            came = await loop.sock_recv(theirs, 1)

    assert (came, before.count) == (b"", 0)

"""Releases to exporters that come early or late, are slow, and go, over the agent's own socket."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from trafficd.reader.handoff import Handoff
from trafficd.releases import Faults, Release, Totals
from trafficd.service.releases import connect_to_reader, open_releases
from trafficd.wire.frame import FRAME_BYTES, decode_frame, encode_frame, is_past, trimmed

WINDOW_SECONDS = 300
RELEASE = Release(
    at=1_700_000_100,
    started_at=1_699_999_800,
    capacity_bits_per_second=10**10,
    uplink=Totals(1 << 20, 2 << 20),
    tunnel=Totals(3 << 20, 4 << 20),
    classes=(("openvpn", Totals(3 << 20, 4 << 20)),),
    faults=Faults(overruns=1, malformed=2, gaps=3),
)


def release(number: int) -> Release:
    return replace(RELEASE, at=RELEASE.at + number * WINDOW_SECONDS)


def frame(number: int) -> bytes:
    return encode_frame(release(number))


class Exporter:
    """A bare connection to the reader."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection

    async def take(self, count: int) -> list[bytes]:
        """Return the next *count* messages, as they come."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            return [await loop.sock_recv(self.socket, 2 * FRAME_BYTES) for _ in range(count)]

    def has_more(self) -> bool:
        """Return whether anything else is there now."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False


@dataclass
class Ends:
    """The reader's end, the releases it keeps, and a way for exporters to come."""

    path: Path
    handoff: Handoff
    kept: list[bytes] = field(default_factory=list)
    exporters: list[Exporter] = field(default_factory=list)

    def connect(self) -> Exporter:
        """Return an exporter that waits to be answered."""
        self.exporters.append(Exporter(connect_to_reader(self.path)))
        return self.exporters[-1]

    @property
    def alive(self) -> int:
        """How many exporters the reader has."""
        return sum(each.is_alive for each in self.handoff._connections)


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[Ends]:
    path = tmp_path / "releases"
    kept: list[bytes] = []
    with contextlib.closing(Handoff(open_releases(path), lambda: kept)) as handoff:
        made = Ends(path, handoff, kept)
        yield made
    for each in made.exporters:
        each.socket.close()


async def until(is_so: Callable[[], object]) -> None:
    for _ in range(100_000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to it")


async def test_an_exporter_that_was_there_before_the_reader_gets_the_latest_release(
    ends: Ends,
) -> None:
    exporter = ends.connect()

    ends.handoff.start(frame(0))

    assert await exporter.take(1) == [frame(0)]
    assert not exporter.has_more()


async def test_each_release_arrives_as_one_frame(ends: Ends) -> None:
    ends.handoff.start(frame(0))
    exporter = ends.connect()
    await exporter.take(1)

    ends.handoff.send(frame(1))
    ends.handoff.send(frame(2))
    frames = await exporter.take(2)

    assert [decode_frame(each) for each in frames] == [release(1), release(2)]
    assert {len(each) for each in frames} == {FRAME_BYTES}


async def test_a_late_exporter_gets_the_latest_first_and_then_the_past_ones_oldest_first(
    ends: Ends,
) -> None:
    ends.handoff.start(frame(0))
    ends.kept += [trimmed(frame(number)) for number in range(3)]
    ends.handoff.send(frame(3))

    exporter = ends.connect()
    frames = await exporter.take(4)
    ends.handoff.send(frame(4))
    frames += await exporter.take(1)

    assert [decode_frame(each) for each in frames] == [release(n) for n in (3, 0, 1, 2, 4)]
    assert [is_past(each) for each in frames] == [False, True, True, True, False]
    assert {len(each) for each in frames} == {FRAME_BYTES}


async def test_an_exporter_that_reads_nothing_keeps_nobody_and_gets_all_when_it_reads(
    ends: Ends,
) -> None:
    ends.handoff.start(frame(0))
    slow, prompt = ends.connect(), ends.connect()
    await slow.take(1)
    await prompt.take(1)

    # Many times what a socket holds (net.core.wmem_default).
    for number in range(1, 1001):
        ends.handoff.send(frame(number))
        assert await prompt.take(1) == [frame(number)]
    found = await slow.take(1000)

    assert found == [frame(number) for number in range(1, 1001)]


async def test_a_release_comes_behind_the_past_ones_that_a_slow_exporter_has_not_read(
    ends: Ends,
) -> None:
    ends.handoff.start(frame(600))
    ends.kept += [trimmed(frame(number)) for number in range(600)]

    exporter = ends.connect()
    first = await exporter.take(1)
    ends.handoff.send(frame(601))
    others = await exporter.take(601)

    found = [decode_frame(each) for each in first + others]
    assert found == [release(n) for n in (600, *range(600), 601)]


async def test_an_exporter_that_is_gone_is_forgotten_and_the_others_are_served(ends: Ends) -> None:
    ends.handoff.start(frame(0))
    gone, left = ends.connect(), ends.connect()
    await gone.take(1)
    await left.take(1)

    gone.socket.close()
    ends.handoff.send(frame(1))

    assert await left.take(1) == [frame(1)]
    assert ends.alive == 1


async def test_an_exporter_that_goes_while_frames_wait_for_it_is_forgotten(ends: Ends) -> None:
    ends.handoff.start(frame(0))
    exporter = ends.connect()
    await exporter.take(1)
    for number in range(1, 1001):
        ends.handoff.send(frame(number))
    assert ends.alive == 1

    exporter.socket.close()

    await until(lambda: ends.alive == 0)


async def test_of_more_connections_than_there_are_exporters_the_oldest_is_closed(
    ends: Ends,
) -> None:
    ends.handoff.start(frame(0))

    exporters = []
    for _ in range(5):
        exporters.append(ends.connect())
        await exporters[-1].take(1)
    ends.handoff.send(frame(1))

    assert await exporters[0].take(1) == [b""]
    for each in exporters[1:]:
        assert await each.take(1) == [frame(1)]


async def test_what_an_exporter_sends_is_refused_by_the_kernel(ends: Ends) -> None:
    ends.handoff.start(frame(0))
    exporter = ends.connect()
    await exporter.take(1)

    with pytest.raises(BrokenPipeError) as refusal:
        exporter.socket.send(b"which links are there?")
    with pytest.raises(BrokenPipeError):
        socket.send_fds(exporter.socket, [b"?"], [exporter.socket.fileno()])

    assert refusal.value.errno == errno.EPIPE
    # Nothing arrived: the reader's end of the socket reads its end of file.
    assert ends.handoff._connections[0]._socket.recv(1 << 16) == b""


async def test_what_was_sent_before_the_reader_closed_its_ear_is_never_read(ends: Ends) -> None:
    exporter = ends.connect()
    exporter.socket.send(b"early")

    ends.handoff.start(frame(0))

    assert await exporter.take(1) == [frame(0)]
    ends.handoff.send(frame(1))
    assert await exporter.take(1) == [frame(1)]


async def test_an_exporter_that_did_not_wait_is_no_exporter(ends: Ends) -> None:
    gone, left = ends.connect(), ends.connect()
    gone.socket.close()

    ends.handoff.start(frame(0))

    assert await left.take(1) == [frame(0)]
    await until(lambda: ends.alive == 1)


async def test_a_reader_that_ends_is_seen_to(tmp_path: Path) -> None:
    path = tmp_path / "releases"
    handoff = Handoff(open_releases(path), list)
    exporter = Exporter(connect_to_reader(path))
    handoff.start(frame(0))
    await exporter.take(1)

    handoff.close()

    with exporter.socket:
        assert await exporter.take(1) == [b""]


async def test_the_socket_of_an_agent_is_its_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "releases"

    with open_releases(path):
        mode = path.stat().st_mode & 0o777
    # Its successor takes the place over.
    with open_releases(path):
        pass

    assert mode == 0o600

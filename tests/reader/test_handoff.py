"""Releases to the exporter, over the real socket pair of the agent."""

import contextlib
import errno
import socket
from collections.abc import Iterator

import pytest

from trafficd.errors import HalfEndedError
from trafficd.reader.handoff import Handoff
from trafficd.releases import Faults, Release, Totals
from trafficd.wire.frame import FRAME_BYTES, decode_frame

RELEASE = Release(
    at=1_700_000_100,
    started_at=1_699_999_800,
    capacity_bits_per_second=10**10,
    uplink=Totals(1 << 20, 2 << 20),
    tunnel=Totals(3 << 20, 4 << 20),
    classes=(("openvpn", Totals(3 << 20, 4 << 20)),),
    faults=Faults(overruns=1, malformed=2),
)


@pytest.fixture
def ends() -> Iterator[tuple[Handoff, socket.socket]]:
    """The reader's end, wrapped, and the exporter's, bare."""
    reader_end, exporter_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    exporter_end.setblocking(False)
    with contextlib.closing(Handoff(reader_end)) as handoff, exporter_end:
        yield handoff, exporter_end


def test_a_release_arrives_as_one_frame(ends: tuple[Handoff, socket.socket]) -> None:
    handoff, exporter_end = ends

    handoff.send(RELEASE)
    handoff.send(RELEASE)
    frames = [exporter_end.recv(2 * FRAME_BYTES) for _ in range(2)]

    assert [decode_frame(frame) for frame in frames] == [RELEASE, RELEASE]


def test_what_the_exporter_sends_is_refused_by_the_kernel(
    ends: tuple[Handoff, socket.socket],
) -> None:
    handoff, exporter_end = ends

    with pytest.raises(BrokenPipeError) as refusal:
        exporter_end.send(b"which links are there?")

    assert refusal.value.errno == errno.EPIPE
    # Nothing arrived: the reader's end of the socket reads its end of file.
    assert handoff._socket.recv(1 << 16) == b""


def test_the_exporter_cannot_hand_a_descriptor_over(ends: tuple[Handoff, socket.socket]) -> None:
    _, exporter_end = ends

    with pytest.raises(BrokenPipeError):
        socket.send_fds(exporter_end, [b"?"], [exporter_end.fileno()])


def test_what_was_sent_before_the_reader_closed_its_ear_is_never_read() -> None:
    reader_end, exporter_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    with exporter_end:
        exporter_end.send(b"early")
        with contextlib.closing(Handoff(reader_end)) as handoff:
            handoff.send(RELEASE)
            frame = exporter_end.recv(2 * FRAME_BYTES)

    assert decode_frame(frame) == RELEASE


def test_an_exporter_that_reads_nothing_never_holds_the_reader_up(
    ends: tuple[Handoff, socket.socket],
) -> None:
    handoff, exporter_end = ends

    for _ in range(1000):
        handoff.send(RELEASE)
    kept = 0
    with contextlib.suppress(BlockingIOError):
        while exporter_end.recv(2 * FRAME_BYTES):
            kept += 1
    handoff.send(RELEASE)

    assert 20 < kept < 1000
    assert decode_frame(exporter_end.recv(2 * FRAME_BYTES)) == RELEASE


def test_an_exporter_that_is_gone_ends_the_reader(ends: tuple[Handoff, socket.socket]) -> None:
    handoff, exporter_end = ends
    exporter_end.close()

    with pytest.raises(HalfEndedError):
        handoff.send(RELEASE)

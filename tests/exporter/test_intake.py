"""What the exporter believes of a reader: nothing but the operator's words and rounded totals."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from trafficd.config import parse_config
from trafficd.errors import HalfEndedError, MalformedFrameError
from trafficd.exporter.classes import ConfiguredClasses
from trafficd.exporter.intake import Intake
from trafficd.releases import Release, Totals
from trafficd.service.lifeline import Lifeline, open_lifeline
from trafficd.wire.frame import encode_frame, past_frame, trimmed

MIB = 1024 * 1024


def release(at: int, *, name: str = "l2tp", rx_bytes: int = MIB) -> Release:
    return Release(at, 0, 0, Totals(), Totals(), ((name, Totals(rx_bytes, 0)),))


@pytest.fixture
def reader() -> Iterator[tuple[socket.socket, Intake]]:
    reader_end, exporter_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with reader_end, contextlib.closing(Intake(exporter_end, lambda: ("l2tp",))) as intake:
        yield reader_end, intake


@pytest.mark.parametrize(
    "lie", [release(1, name="ppp17"), release(1, rx_bytes=MIB + 1), release(1, rx_bytes=17)]
)
async def test_a_release_of_other_words_or_finer_numbers_is_not_shown(
    reader: tuple[socket.socket, Intake], lie: Release
) -> None:
    reader_end, intake = reader

    reader_end.send(encode_frame(lie))
    reader_end.send(encode_frame(release(2)))

    async with asyncio.timeout(20):
        assert await intake.next_release() == release(2)


async def test_a_past_release_is_not_shown(reader: tuple[socket.socket, Intake]) -> None:
    reader_end, intake = reader
    kept = [trimmed(encode_frame(release(at))) for at in (1, 2)]

    for frame in (encode_frame(release(3)), *map(past_frame, kept), encode_frame(release(4))):
        reader_end.send(frame)

    async with asyncio.timeout(20):
        shown = [await intake.next_release() for _ in range(2)]
    assert shown == [release(3), release(4)]


async def test_an_exporter_whose_reader_is_gone_ends_to_be_started_again(
    reader: tuple[socket.socket, Intake],
) -> None:
    reader_end, intake = reader

    reader_end.close()

    with pytest.raises(HalfEndedError) as gone:
        await intake.next_release()
    assert gone.value.exit_code == 69


async def test_what_is_no_frame_ends_the_exporter(reader: tuple[socket.socket, Intake]) -> None:
    reader_end, intake = reader

    reader_end.send(b"ppp17")

    with pytest.raises(MalformedFrameError):
        await intake.next_release()


async def test_classes_are_those_of_the_start_and_of_every_text_since(tmp_path: Path) -> None:
    file = tmp_path / "agent.yml"
    agent, there = open_lifeline()
    lifeline = Lifeline(there)
    settings = parse_config("links: [{name: ppp*, class: l2tp}]")
    classes = ConfiguredClasses(settings, lifeline, source="agent.yml")
    found = [set(classes())]

    for text in ("links: [{name: ppp*, class: pppoe}]", "links: [", "links: [{name: p, class: x}]"):
        file.write_text(text)
        agent.hand_down(file)
        assert agent.go_on()
        found.append(set(classes()))
    agent.close()
    there.close()

    assert found == [{"l2tp"}, {"l2tp", "pppoe"}, {"l2tp", "pppoe"}, {"l2tp", "pppoe", "x"}]


async def test_every_release_that_may_leave_is_kept_to_be_pushed() -> None:
    reader_end, exporter_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept: list[tuple[Release, bytes]] = []
    frames = [
        encode_frame(release(4)),
        *(past_frame(trimmed(encode_frame(release(at)))) for at in (1, 2)),
        past_frame(trimmed(encode_frame(release(3, name="ppp17")))),
        encode_frame(release(5, rx_bytes=17)),
        encode_frame(release(6)),
    ]
    intake = Intake(exporter_end, lambda: ("l2tp",), keep=lambda *each: kept.append(each))
    with reader_end, contextlib.closing(intake):
        for each in frames:
            reader_end.send(each)

        async with asyncio.timeout(20):
            shown = [(await intake.next_release()).at for _ in range(2)]

    assert shown == [4, 6]
    assert kept == [(release(at), frames[place]) for at, place in ((4, 0), (1, 1), (2, 2), (6, 5))]


async def test_past_releases_that_may_not_leave_are_told_of_once(said: list[str]) -> None:
    reader_end, exporter_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    intake = Intake(exporter_end, lambda: ("l2tp",), keep=lambda *_: None)
    with reader_end, contextlib.closing(intake):
        for at in (1, 2, 3):
            reader_end.send(past_frame(trimmed(encode_frame(release(at, name="ppp17")))))
        reader_end.send(encode_frame(release(4)))

        async with asyncio.timeout(20):
            await intake.next_release()

    assert said == ["exporter: a release held what is not configured or not rounded; not shown"]

"""The agent's socket to a half: texts go down, nothing comes up, and its end is an end."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from trafficd.errors import ConfigError
from trafficd.service.lifeline import LONGEST_TEXT_BYTES, AgentEnd, Lifeline, open_lifeline


@dataclass
class Ends:
    """Both ends of a lifeline, and the half's socket itself."""

    agent: AgentEnd
    half: Lifeline
    socket: socket.socket


@pytest.fixture
def ends() -> Iterator[Ends]:
    agent, there = open_lifeline()
    yield Ends(agent, Lifeline(there), there)
    agent.close()
    there.close()


def hand_down(ends: Ends, file: Path, text: str | bytes) -> bool:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    ends.agent.hand_down(file)
    return ends.agent.go_on()


async def test_the_newest_text_is_the_one_that_counts(ends: Ends, tmp_path: Path) -> None:
    file = tmp_path / "agent.yml"

    for text in ("window: 5m", "window: 10m", "window: 15m"):
        assert hand_down(ends, file, text)

    assert ends.half.text() == "window: 15m"
    assert ends.half.text() == "window: 15m"


async def test_an_empty_file_is_a_text(ends: Ends, tmp_path: Path) -> None:
    hand_down(ends, tmp_path / "agent.yml", "")

    assert ends.half.text() == ""


async def test_a_text_of_the_greatest_length_arrives_whole(ends: Ends, tmp_path: Path) -> None:
    text = "#" * LONGEST_TEXT_BYTES

    assert hand_down(ends, tmp_path / "agent.yml", text)

    assert ends.half.text() == text


@pytest.mark.parametrize(
    "content",
    [b"#" * (LONGEST_TEXT_BYTES + 1), b"#" * (8 << 20), b"\xff\xfe"],
    ids=["a byte too long", "megabytes", "no UTF-8"],
)
async def test_what_is_no_configuration_is_refused(
    ends: Ends, tmp_path: Path, content: bytes
) -> None:
    hand_down(ends, tmp_path / "agent.yml", "window: 5m")

    hand_down(ends, tmp_path / "agent.yml", content)

    with pytest.raises(ConfigError):
        ends.half.text()


async def test_a_file_that_cannot_be_read_is_refused_and_a_good_one_mends_it(
    ends: Ends, tmp_path: Path
) -> None:
    ends.agent.hand_down(tmp_path / "none.yml")
    assert ends.agent.go_on()
    with pytest.raises(ConfigError):
        ends.half.text()

    hand_down(ends, tmp_path / "agent.yml", "window: 5m")

    assert ends.half.text() == "window: 5m"


async def test_a_half_that_was_handed_nothing_has_no_text(ends: Ends) -> None:
    with pytest.raises(ConfigError):
        ends.half.text()
    with pytest.raises(ConfigError):
        Lifeline(None).text()


async def test_a_half_that_does_not_read_keeps_nobody_and_gets_the_newest(
    ends: Ends, tmp_path: Path
) -> None:
    file = tmp_path / "agent.yml"
    count = 0
    while hand_down(ends, file, f"# {count:0{LONGEST_TEXT_BYTES - 2}}"):
        count += 1
    assert ends.agent.is_waiting

    hand_down(ends, file, "window: 5m")
    ends.half.text()
    has_left = ends.agent.go_on()

    assert has_left
    assert not ends.agent.is_waiting
    assert ends.half.text() == "window: 5m"


async def test_nothing_goes_up(ends: Ends) -> None:
    with pytest.raises(BrokenPipeError):
        ends.socket.send(b"x")


async def test_the_end_of_the_agent_is_told_once_and_texts_before_it_are_not_taken_for_it(
    ends: Ends, tmp_path: Path
) -> None:
    gone: list[bool] = []
    told = asyncio.Event()

    def note() -> None:
        gone.append(True)
        told.set()

    ends.half.listen(note)
    hand_down(ends, tmp_path / "agent.yml", "window: 5m")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    before = list(gone)
    ends.agent.close()
    async with asyncio.timeout(10):
        await told.wait()

    assert before == []
    assert ends.half.text() == "window: 5m"
    assert gone == [True]


async def test_an_agent_that_hands_down_to_a_half_that_is_gone_goes_on(
    ends: Ends, tmp_path: Path
) -> None:
    ends.socket.close()

    assert hand_down(ends, tmp_path / "agent.yml", "window: 5m")

"""Which text the reader is configured by: at a start, and when one comes down."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trafficd.errors import ConfigError
from trafficd.reader.configuration import Configuration
from trafficd.service.lifeline import Lifeline, text_message

GOOD, LAST_GOOD, BAD = "window: 10m\n", "window: 15m\n", "window: 5s\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.yml"


@pytest.fixture
def lifeline() -> Iterator[tuple[Lifeline, Callable[[str], object]]]:
    """A reader's lifeline, and a way to hand a text down."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        yield Lifeline(there), lambda text: here.send(text_message(text))


@pytest.mark.parametrize("last_good", [None, LAST_GOOD])
def test_the_file_counts_if_it_is_good(file: Path, last_good: str | None) -> None:
    file.write_text(GOOD)

    configuration = Configuration.at_start(file, last_good)

    assert configuration.text == GOOD
    assert configuration.settings.window == 600
    assert not configuration.is_refused


@pytest.mark.parametrize("content", [BAD, "links: [", None, b"\xff\xfe"])
def test_the_last_good_text_counts_where_the_file_is_bad_or_gone(
    file: Path, content: str | bytes | None
) -> None:
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    configuration = Configuration.at_start(file, LAST_GOOD)

    assert configuration.text == LAST_GOOD
    assert configuration.settings.window == 900
    assert configuration.is_refused


def test_a_bad_file_without_a_last_good_text_is_told_with_every_mistake(file: Path) -> None:
    file.write_text("window: 5s\nlinks: [{name: 'ppp*', clas: l2tp}]\n")

    with pytest.raises(ConfigError) as refused:
        Configuration.at_start(file, None)

    assert refused.value.exit_code == 78
    assert len(refused.value.mistakes) > 1


def test_a_good_text_that_comes_down_takes_the_place_of_a_refused_one(
    file: Path, lifeline: tuple[Lifeline, Callable[[str], object]]
) -> None:
    half, hand_down = lifeline
    file.write_text(BAD)
    configuration = Configuration.at_start(file, LAST_GOOD)

    hand_down(GOOD)
    settings = configuration.reread(half)

    assert settings is configuration.settings
    assert (settings.window, configuration.text) == (600, GOOD)
    assert not configuration.is_refused


def test_a_bad_text_that_comes_down_changes_nothing_and_is_remembered_as_refused(
    file: Path, lifeline: tuple[Lifeline, Callable[[str], object]]
) -> None:
    half, hand_down = lifeline
    file.write_text(GOOD)
    configuration = Configuration.at_start(file, None)

    hand_down(BAD)
    with pytest.raises(ConfigError):
        configuration.reread(half)

    # It is what the next reader is configured by, if the file is still bad then.
    assert (configuration.settings.window, configuration.text) == (600, GOOD)
    assert configuration.is_refused


def test_a_text_that_could_not_be_read_is_refused(
    file: Path, lifeline: tuple[Lifeline, Callable[[str], object]]
) -> None:
    half, _ = lifeline
    file.write_text(GOOD)
    configuration = Configuration.at_start(file, None)

    with pytest.raises(ConfigError):
        configuration.reread(half)

    assert configuration.text == GOOD
    assert configuration.is_refused

"""A changed configuration to the halves that systemd runs: over the socket of a unit."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trafficd.errors import ConfigError, TrafficdError
from trafficd.service import reload
from trafficd.service.lifeline import LONGEST_TEXT_BYTES, Lifeline
from trafficd.service.reload import send_text

CONFIG = 'window: 10m\nlinks: [{name: "ppp*", class: l2tp}]\n'


@contextlib.contextmanager
def unit(path: Path) -> Iterator[socket.socket]:
    """The socket that systemd binds and hands to a half."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(path))
        yield bound


def reloaded(config: Path, *to: Path) -> "subprocess.CompletedProcess[str]":
    sockets = [word for each in to for word in ("--to", str(each))]
    return subprocess.run(
        [sys.executable, "-m", "trafficd", "reload", "--config", str(config), *sockets],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_good_configuration_reaches_every_half(tmp_path: Path) -> None:
    config = tmp_path / "agent.yml"
    config.write_text(CONFIG)

    with unit(tmp_path / "reader") as reader, unit(tmp_path / "exporter") as exporter:
        done = reloaded(config, tmp_path / "reader", tmp_path / "exporter")
        texts = [Lifeline(each).text() for each in (reader, exporter)]

    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert texts == [CONFIG, CONFIG]


def test_a_bad_configuration_goes_nowhere_and_every_mistake_is_said(tmp_path: Path) -> None:
    config = tmp_path / "agent.yml"
    config.write_text("window: 5s\nlinks: [{name: 'ppp*', clas: l2tp}]\n")

    with unit(tmp_path / "reader") as reader:
        done = reloaded(config, tmp_path / "reader")
        with pytest.raises(ConfigError):
            Lifeline(reader).text()

    assert done.returncode == 78
    assert f"{config}:1: window" in done.stderr
    assert f"{config}:2: links[0].clas" in done.stderr


def test_a_file_that_cannot_be_read_is_exit_78(tmp_path: Path) -> None:
    with unit(tmp_path / "reader"):
        done = reloaded(tmp_path / "none.yml", tmp_path / "reader")

    assert done.returncode == 78
    assert done.stderr == f"{tmp_path}/none.yml: cannot be read: No such file or directory\n"


def test_a_unit_that_does_not_run_is_exit_1(tmp_path: Path) -> None:
    config = tmp_path / "agent.yml"
    config.write_text(CONFIG)
    with unit(tmp_path / "stopped"):
        pass

    nowhere = reloaded(config, tmp_path / "none")
    stopped = reloaded(config, tmp_path / "stopped")

    assert (nowhere.returncode, stopped.returncode) == (1, 1)
    assert nowhere.stderr.endswith("No such file or directory; is the socket unit running?\n")
    assert stopped.stderr.endswith("Connection refused; is the socket unit running?\n")


def test_a_half_that_reads_nothing_is_said_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "_WAIT_SECONDS", 0.1)

    def send_many() -> None:
        # More than a queue of datagrams holds (net.unix.max_dgram_qlen).
        for _ in range(5000):
            send_text("window: 5m", tmp_path / "reader")

    with unit(tmp_path / "reader"), pytest.raises(TrafficdError, match="nobody reads the texts"):
        send_many()


def test_texts_wait_for_a_half_that_is_started_later_and_the_newest_counts(tmp_path: Path) -> None:
    with unit(tmp_path / "reader") as reader:
        for window in ("5m", "10m", "15m"):
            send_text(f"window: {window}", tmp_path / "reader")

        assert Lifeline(reader).text() == "window: 15m"


def test_the_longest_text_arrives_whole_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    with unit(tmp_path / "reader") as reader:
        send_text("#" * LONGEST_TEXT_BYTES, tmp_path / "reader")
        with pytest.raises(ConfigError, match="at most 131072"):
            send_text("#" * (LONGEST_TEXT_BYTES + 1), tmp_path / "reader")

        assert Lifeline(reader).text() == "#" * LONGEST_TEXT_BYTES


def test_an_empty_text_is_one_and_an_empty_datagram_is_not_an_end(tmp_path: Path) -> None:
    with unit(tmp_path / "reader") as reader:
        lifeline = Lifeline(reader)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"", str(tmp_path / "reader"))
        with pytest.raises(ConfigError):
            lifeline.text()
        send_text("", tmp_path / "reader")

        assert lifeline.text() == ""

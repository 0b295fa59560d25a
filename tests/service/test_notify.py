"""What systemd is told, on a socket that the test binds in its place."""

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from trafficd.service.notify import ServiceManager, exporter_status, reader_status
from trafficd.units import Duration

MICROSECONDS = 1_000_000
# 2023-11-14 22:15 UTC
INSTANT = 1_700_000_100


@dataclass
class Systemd:
    """The other end, and the environment of a unit."""

    socket: socket.socket
    environment: dict[str, str]

    def told(self) -> list[str]:
        """Return the messages that came since the last call."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    written = str(tmp_path / "notify") if request.param == "path" else f"@trafficd-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0{written[1:]}" if written.startswith("@") else written)
        bound.setblocking(False)
        yield Systemd(bound, {"NOTIFY_SOCKET": written})


def test_a_unit_is_ready_with_a_status(systemd: Systemd) -> None:
    manager = ServiceManager(systemd.environment)

    manager.ready("window 1h")
    manager.close()

    assert systemd.told() == ["READY=1\nSTATUS=window 1h"]


def test_a_status_is_said_only_when_it_is_another_one(systemd: Systemd) -> None:
    manager = ServiceManager(systemd.environment)
    manager.ready("one")

    for each in ("one", "one", "two", "two", "one"):
        manager.status(each)
    manager.close()

    assert systemd.told()[1:] == ["STATUS=two", "STATUS=one"]


async def test_a_watched_unit_says_that_it_lives_twice_as_often_as_it_must(
    systemd: Systemd,
) -> None:
    manager = ServiceManager(systemd.environment | {"WATCHDOG_USEC": str(MICROSECONDS // 10)})
    loop = asyncio.get_running_loop()

    assert manager.watchdog_seconds == 0.1
    started = loop.time()
    async with asyncio.TaskGroup() as group:
        living = group.create_task(manager.keep_alive())
        said = [await loop.sock_recv(systemd.socket, 4096) for _ in range(4)]
        seconds = loop.time() - started
        living.cancel()
    manager.close()

    assert said == [b"WATCHDOG=1"] * 4
    # At once, and then every half of the time; later only as the machine is busy.
    assert seconds >= 0.14


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": ""}, 0.0),
    ],
)
def test_a_watchdog_is_that_of_this_process_or_none(
    environment: dict[str, str], seconds: float
) -> None:
    assert ServiceManager(environment).watchdog_seconds == seconds


def test_without_systemd_nobody_is_told() -> None:
    manager = ServiceManager({})

    manager.ready("window 1h")
    manager.status("another")
    manager.close()


def test_a_systemd_that_does_not_listen_keeps_nobody_waiting(systemd: Systemd) -> None:
    manager = ServiceManager(systemd.environment)

    # More than a queue of datagrams holds (net.unix.max_dgram_qlen).
    for number in range(5000):
        manager.status(f"{number}")
    held = len(systemd.told())
    manager.status("now")
    last = systemd.told()
    systemd.socket.close()
    manager.status("nobody is there")
    manager.close()

    assert 0 < held < 5000
    assert last == ["STATUS=now"]


def test_the_line_holds_a_window_and_grid_points_and_nothing_else() -> None:
    window = Duration.parse("1h")
    refused = reader_status(Duration.parse("90m"), INSTANT, is_refused=True)

    assert reader_status(window, INSTANT, is_refused=False) == (
        "window 1h, next grid point 2023-11-14 22:15 UTC"
    )
    assert refused == (
        "window 90m, next grid point 2023-11-14 22:15 UTC;"
        " configuration refused, going on with the last good one"
    )
    assert exporter_status(INSTANT) == "showing the release of 2023-11-14 22:15 UTC"
    assert exporter_status(0) == "showing a page of zeros"

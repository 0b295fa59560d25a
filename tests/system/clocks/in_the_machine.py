"""Run in an emulated machine, whose clocks are its own: there they are set, and it is suspended.

The units are installed as they are; only the reader's clock is `trafficd_on_fast_hours`.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path

import pytest

from tests.continuity.kept import kept_run
from tests.lab import open_and_close_sessions
from tests.system.clocks.trafficd_on_fast_hours import SPEED
from trafficd.releases import Faults, Release
from trafficd.rules import Role
from trafficd.wire.frame import FRAME_BYTES, decode_frame, is_past

HERE = Path(__file__).parent
UNITS = Path("/etc/systemd/system")
READER = "trafficd-reader.service"
STATE = Path("/run/private/trafficd-reader/state")
HOST = "/proc/1/ns/net"
WINDOW_SECONDS = 300
# In the world. One may be shorter by a second, and seen a second late by a slow witness.
WINDOW = WINDOW_SECONDS / SPEED
SHORTEST = WINDOW - 1.0 - 1.0
ON_FAST_HOURS = f"""
[Service]
ExecStart=
ExecStart=/usr/bin/python3 {HERE}/trafficd_on_fast_hours.py reader --config %d/agent.yml \
  --state %t/trafficd-reader/state
Environment=PYTHONPATH=/srv/trafficd PYTHONDONTWRITEBYTECODE=1
"""
CONFIGURATION = """
window: 5m
links: [{name: "ppp*", class: ppp, population: shared}]
"""


def run(*command: str) -> str:
    return subprocess.run(
        command, check=True, timeout=120, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def elapsed() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Witness(threading.Thread):
    """An exporter that notes when it got each release for the first time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ends = threading.Event()
        self.seen: list[tuple[float, Release]] = []
        self.values: dict[int, set[Release]] = {}

    def run(self) -> None:
        while not self._ends.wait(0.1):
            with (
                contextlib.suppress(OSError),
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection,
            ):
                connection.settimeout(1.0)
                connection.connect("/run/trafficd/releases")
                connection.settimeout(None)
                while frame := connection.recv(2 * FRAME_BYTES):
                    self._note(frame)

    def _note(self, frame: bytes) -> None:
        release = decode_frame(frame)
        if release.at not in self.values and not is_past(frame):
            self.seen.append((elapsed(), release))
        self.values.setdefault(release.at, set()).add(release)

    def end(self) -> None:
        self._ends.set()


class Machine:
    """The node, what it moved, and who hears of it."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.moved = 0
        self._batches = count()

    def sessions(self) -> None:
        """Let some come and go."""
        sizes = [30_000 + 1000 * each for each in range(12)]
        open_and_close_sessions(HOST, sizes, prefix=f"ppp{next(self._batches)}-")
        self.moved += sum(sizes)

    def next_release(self) -> Release:
        """Wait for a release that is new, and return it."""
        before = len(self.witness.seen)
        until(lambda: len(self.witness.seen) > before, "a release")
        return self.witness.seen[-1][1]

    def counts_on(self) -> None:
        """Whatever was done: two more grid points come, of now, with all that moved before."""
        self.sessions()
        self.next_release()
        release = self.next_release()
        assert abs(time.time() * SPEED - release.at) < WINDOW_SECONDS
        assert release.tunnel.rx_bytes == self.moved >> 20 << 20


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within two minutes"
        time.sleep(0.02)


def set_clock(by_seconds: float) -> None:
    """Step CLOCK_REALTIME, as somebody who sets it by hand or an NTP client that steps."""
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + by_seconds)


def suspend(seconds: int) -> None:
    """Suspend to RAM through systemd, until the alarm of the machine's clock.

    Once a machine: QEMU's wakes at once the second time.
    """
    before, awake_before = elapsed(), time.monotonic()
    run("rtcwake", "--mode", "no", "--seconds", str(seconds))
    run("systemctl", "start", "systemd-suspend.service")
    asleep = elapsed() - before - (time.monotonic() - awake_before)
    assert seconds - 3 < asleep < seconds + 3


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    for unit in Path("systemd").iterdir():
        shutil.copy(unit, UNITS)
    (UNITS / f"{READER}.d").mkdir()
    (UNITS / f"{READER}.d" / "clock.conf").write_text(ON_FAST_HOURS)
    Path("/etc/trafficd").mkdir()
    Path("/etc/trafficd/agent.yml").write_text(CONFIGURATION)
    run("groupadd", "--system", "trafficd")
    run("systemctl", "daemon-reload")
    witness = Witness()
    run("systemctl", "start", READER)
    witness.start()
    yield Machine(witness)
    witness.end()
    sys.stdout.write(run("journalctl", "--no-pager", "--output=cat", f"--unit={READER}"))


def test_the_limits_of_its_memory_are_in_force(machine: Machine) -> None:
    # A container has no memory controller where its host has version 1 of them.
    group = Path("/sys/fs/cgroup/system.slice", READER)

    assert (group / "memory.swap.max").read_text() == "0\n"
    assert int((group / "memory.max").read_text()) == 512 << 20


def test_a_clock_set_forward_within_a_window(machine: Machine) -> None:
    machine.next_release()
    machine.sessions()
    set_clock(0.4 * WINDOW)
    machine.counts_on()


def test_a_clock_set_forward_over_grid_points(machine: Machine) -> None:
    machine.sessions()
    set_clock(2.6 * WINDOW)
    machine.counts_on()


def test_a_clock_set_back_over_grid_points(machine: Machine) -> None:
    before = machine.next_release()
    machine.sessions()
    set_clock(-1.5 * WINDOW)
    assert machine.next_release().at > before.at
    machine.counts_on()


def test_a_clock_set_forward_and_back_again(machine: Machine) -> None:
    machine.next_release()
    for _ in range(3):
        set_clock(1.2 * WINDOW)
        machine.sessions()
        set_clock(-1.2 * WINDOW)
    machine.counts_on()


def test_a_step_and_a_kill_at_once(machine: Machine) -> None:
    machine.next_release()
    machine.sessions()
    set_clock(0.5 * WINDOW)
    run("systemctl", "kill", "--signal=KILL", READER)
    set_clock(-0.8 * WINDOW)
    machine.counts_on()


def test_steps_while_the_reader_is_stopped(machine: Machine) -> None:
    machine.next_release()
    run("systemctl", "stop", READER)
    set_clock(2.3 * WINDOW)
    # The first event starts it again: it comes back to another time than it left.
    machine.sessions()
    run("systemctl", "stop", READER)
    set_clock(-1.8 * WINDOW)
    machine.sessions()
    run("systemctl", "start", READER)
    machine.counts_on()


def test_a_suspend_over_grid_points(machine: Machine) -> None:
    machine.sessions()
    machine.next_release()
    suspend(round(1.7 * WINDOW))
    machine.counts_on()


def test_after_all_that_every_byte_is_there_once(machine: Machine) -> None:
    run("systemctl", "kill", "--signal=STOP", READER)
    kept = kept_run(STATE)

    assert kept.ledger.standing().total(Role.TUNNEL).rx_bytes == machine.moved
    assert kept.faults.faults() == Faults()


def test_after_all_that_no_window_was_short_and_no_grid_point_has_two_values(
    machine: Machine,
) -> None:
    moments = [at for at, _ in machine.witness.seen]
    releases = [release for _, release in machine.witness.seen]

    assert [b - a for a, b in pairwise(moments) if b - a < SHORTEST] == []
    assert {at: found for at, found in machine.witness.values.items() if len(found) > 1} == {}
    assert [each.at for each in releases if each.at % WINDOW_SECONDS] == []
    assert all(a.tunnel.rx_bytes <= b.tunnel.rx_bytes for a, b in pairwise(releases))
    assert len(releases) > 15

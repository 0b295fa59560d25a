"""No byte is lost under a real systemd: kills, stops, storms; and what is on the disk then."""

import contextlib
import os
import random
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.continuity.kept import kept_run
from tests.lab import TunSession, open_and_close_sessions
from tests.system.container import Container, debian_container
from tests.system.node import EXPORTER, READER, STATE, TARGET, Node
from tests.system.test_units import LOCK_SOCKETS
from trafficd.reader.run import Run
from trafficd.releases import Faults, Release, Totals
from trafficd.rules import Role
from trafficd.wire.frame import FRAME_BYTES, decode_frame, is_past

KILLS = 200
MOVED_BETWEEN_KILLS = 8
# A name that a search finds nowhere by accident.
PLANTED = "ppp-zq7xw"


@pytest.fixture(scope="module")
def machine() -> Iterator[Container]:
    with debian_container() as container:
        container.install_trafficd()
        yield container


@pytest.fixture
def node(machine: Container) -> Iterator[Node]:
    """A node that was installed and never started, and a reader that comes back at once."""
    node = Node(machine)
    node.configure("window: 5m\n")
    node.change(READER, "RestartSec=50ms\n")
    yield node
    node.clean()


def network(node: Node) -> str:
    return f"/proc/{node.machine.leader}/ns/net"


def kept(node: Node) -> Run:
    """Return what a successor would find, between two steps of the reader that is there now."""
    process = node.process(READER)
    node.machine.run("kill", "-STOP", process)
    try:
        return kept_run(node.machine.root / STATE.lstrip("/") / "state")
    finally:
        node.machine.run("kill", "-CONT", process)


def kept_totals(node: Node) -> Totals:
    return kept(node).ledger.standing().total(Role.TUNNEL)


def faults(node: Node) -> Faults:
    return kept(node).faults.faults()


def until_ready(node: Node, before: str) -> str:
    """Return the reader's process once it is another than *before* and counts."""
    process = node.next_process(READER, before)
    node.until_active(READER)
    return process


class Witness:
    """An exporter beside the exporter, that remembers every release it was handed."""

    def __init__(self, node: Node) -> None:
        self._path = node.machine.root / "run/trafficd/releases"
        self._connection: socket.socket | None = None
        self.seen: list[Release] = []

    def connect(self) -> None:
        """Ask the reader that is there now."""
        self.close()
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.setblocking(False)
        self._connection.connect(str(self._path))

    def take(self) -> None:
        """Take what has come."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while self._connection and (frame := self._connection.recv(2 * FRAME_BYTES)):
                self.seen.append(decode_frame(frame))
                assert not is_past(frame) or self.seen[-1].at

    def has_heard(self) -> bool:
        """Take what has come, and tell whether anything ever did."""
        self.take()
        return bool(self.seen)

    def close(self) -> None:
        """Take the rest and hang up."""
        self.take()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Churn(threading.Thread):
    """Sessions that open, receive and close in the container, until it is stopped."""

    def __init__(self, network: str) -> None:
        super().__init__()
        self._network = network
        self._ends = threading.Event()
        self.moved = self.sessions = 0

    def run(self) -> None:
        sizes = random.Random(7)
        while not self._ends.is_set():
            batch = sizes.choices(range(20, 60_000), k=MOVED_BETWEEN_KILLS)
            # A process that is being started holds what is closed here for a moment still.
            open_and_close_sessions(self._network, batch, prefix=f"ppp{self.sessions}-")
            self.moved += sum(batch)
            self.sessions += len(batch)

    def end(self) -> None:
        """Stop, and wait until the last session is over."""
        self._ends.set()
        self.join()


def test_200_kills_at_random_moments_lose_no_byte_and_no_point_has_two_values(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.start()
    process = until_ready(node, "")
    witness, churn, moments = Witness(node), Churn(network(node)), random.Random(8)
    churn.start()
    try:
        for _ in range(KILLS):
            # Anywhere between its first instruction and some time after it is ready.
            threading.Event().wait(moments.uniform(0.0, 0.9))
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                witness.connect()
            witness.take()
            node.machine.run("kill", "-KILL", process, check=False)
            process = node.next_process(READER, process)
    finally:
        churn.end()
    until_ready(node, "")
    witness.connect()
    node.machine.until(witness.has_heard, 20, "a release")
    total, found = kept_totals(node), faults(node)
    witness.close()

    assert total.rx_bytes == churn.moved
    assert found == Faults()
    values: dict[int, set[Release]] = {}
    for release in witness.seen:
        values.setdefault(release.at, set()).add(release)
    assert {at: len(each) for at, each in values.items() if len(each) > 1} == {}
    assert [at for at in values if at % 300] == []
    with capsys.disabled():
        sys.stdout.write(f"{KILLS} kills, {churn.sessions} sessions, {churn.moved} bytes\n")


def test_sessions_that_come_and_go_while_it_is_stopped_are_counted(node: Node) -> None:
    node.start()
    process = until_ready(node, "")
    with TunSession(network(node), "ppp-long", rx_bytes=1000) as long:
        node.systemctl("stop", READER, EXPORTER)
        # The first event starts it again, and so it is held: the queue is what counts meanwhile.
        long.receive(70_000)
        open_and_close_sessions(network(node), [2000] * 40, prefix="ppp")
        node.systemctl("start", TARGET)
        process = until_ready(node, process)
        node.systemctl("restart", READER)
        until_ready(node, process)

        assert kept_totals(node).rx_bytes == long.rx_bytes + 80_000
        assert faults(node) == Faults()


def test_an_exporter_that_was_away_shows_what_was_released_meanwhile(node: Node) -> None:
    node.start()
    node.systemctl("stop", EXPORTER)
    open_and_close_sessions(network(node), [2000] * 40, prefix="ppp")
    node.systemctl("start", EXPORTER)
    node.until_active(EXPORTER)

    assert re.search(r"(?m)^trafficd_release_timestamp_seconds ", node.page())


def test_a_storm_that_the_queue_has_no_room_for_is_said_and_makes_no_jump(node: Node) -> None:
    node.machine.write(
        "/etc/systemd/system/trafficd-reader.socket.d/changed-by-test.conf",
        "[Socket]\nReceiveBuffer=256K\n",
    )
    node.systemctl("daemon-reload")
    node.start()
    process = until_ready(node, "")
    with TunSession(network(node), "ppp-long", rx_bytes=5000) as long:
        node.machine.until(lambda: kept_totals(node).rx_bytes >= 5000, 30, "the session counted")
        node.machine.run("kill", "-STOP", process)
        open_and_close_sessions(network(node), [9000] * 300, prefix="ppp")
        long.receive(40_000)
        node.machine.run("kill", "-KILL", process)
        until_ready(node, process)

        total = kept_totals(node).rx_bytes
        # What was queued before the storm, what still lives, and nothing that was not seen.
        assert long.rx_bytes <= total < long.rx_bytes + 300 * 9000
        assert (total - long.rx_bytes) % 9000 == 0
        assert faults(node).overruns == 1


def test_sockets_that_are_renewed_count_nothing_twice_and_the_gap_is_said(node: Node) -> None:
    node.machine.write("/usr/local/lib/lock.py", LOCK_SOCKETS)
    command = "ExecStart=\nExecStart=/usr/bin/python3 /usr/local/lib/lock.py\n"
    node.change(READER, f"Type=oneshot\nRestart=no\n{command}")
    node.systemctl("start", READER)
    node.change_back()
    with TunSession(network(node), "ppp-long", rx_bytes=5000) as long:
        node.systemctl("start", TARGET)
        node.machine.until(lambda: "status=75" in node.journal(READER), 30, "the renewal")
        node.until_active(READER, EXPORTER)
        long.receive(30_000)
        process = node.process(READER)
        node.systemctl("restart", READER)
        until_ready(node, process)

        # It was there before the first reader, whose baseline both others go on from.
        assert kept_totals(node).rx_bytes == 30_000
        assert faults(node) == Faults(gaps=1)


def test_nothing_of_a_session_is_on_the_disk_afterwards(node: Node) -> None:
    written = node.machine.written
    before = files_in(written)
    node.start()
    process = until_ready(node, "")
    for number in range(3):
        with TunSession(network(node), f"{PLANTED}{number}", rx_bytes=5000):
            node.machine.run("kill", "-KILL", process)
            process = until_ready(node, process)
    node.systemctl("stop", TARGET)
    node.machine.run("journalctl", "--sync")

    changed = {name for name, content in files_in(written).items() if before.get(name) != content}
    ours = [each for each in changed if not each.startswith(("var/log/journal", "run/", "tmp/"))]
    assert [each for each in ours if "trafficd" in each] == []
    found = subprocess.run(
        ["grep", "-r", "-l", "--binary-files=text", PLANTED, written],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
    said = node.journal(READER) + node.journal(EXPORTER)
    assert "going on with the totals" in said
    assert PLANTED not in said


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the files beneath *folder*, each with its size and when it was changed."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            status = file.lstat()
            found[str(file.relative_to(folder))] = (status.st_size, status.st_mtime_ns)
    return found

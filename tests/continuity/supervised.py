"""What pid 1 does for a reader, and an exporter that remembers: for tests that kill readers."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.continuity.kept import kept_run
from trafficd.continuity import journal
from trafficd.demo.clock import FastClock
from trafficd.kernel.sockets import open_link_sockets
from trafficd.reader.run import Run
from trafficd.releases import Release, Totals
from trafficd.rules import Role
from trafficd.service.releases import connect_to_reader, open_releases
from trafficd.wire.frame import FRAME_BYTES, decode_frame, is_past

WINDOW_SECONDS = 300
CONFIGURATION = """
window: 5m
links: [{name: "ppp*", class: ppp, population: shared}, {name: "eth*", role: uplink}]
"""
_PROGRAM = Path(__file__).with_name("mortal_reader.py")
_IN_RAM = Path("/dev/shm")
_LONGEST_SECONDS = 20.0
# Descriptors go where sd_listen_fds(3) wants them, and the process keeps its number.
_HAND_OVER = """
import fcntl, os, sys
given = [int(each) for each in os.environ["GIVEN"].split(",")]
moved = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in given]
for number, each in enumerate(moved):
    os.dup2(each, 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Supervised:
    """A reader's surroundings, which outlive it, and what it handed out."""

    def __init__(self, namespace: str, folder: Path, *, speed: float) -> None:
        self._folder = folder
        self._links = open_link_sockets(namespace)
        self._releases = open_releases(folder / "releases")
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._has_heard = False
        self.clock = FastClock.starting_in(0.0, window_seconds=WINDOW_SECONDS, speed=speed)
        # Each release as often as it was handed out, with the time on the clock.
        self.handed_out: list[tuple[float, Release]] = []
        self.past: list[Release] = []

    def start(self, *death: str) -> None:
        """Start the reader, to die at a step if one is given, and connect to it."""
        given = [each.fileno() for each in (self._links.events, self._links.dumps, self._releases)]
        clock = (self.clock.utc_start, self.clock.boot_start, self.clock.speed)
        handed = {
            "GIVEN": ",".join(map(str, given)),
            "LISTEN_FDS": str(len(given)),
            "LISTEN_FDNAMES": "host:host:releases",
        }
        state = self._folder / "state"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _HAND_OVER, _PROGRAM, state),
                *(*map(str, clock), CONFIGURATION, *death),
            ],
            pass_fds=given,
            env={**os.environ, **handed},
        )
        self.connect()

    def connect(self) -> None:
        """Connect as an exporter that was just started."""
        self.hang_up()
        self._has_heard = False
        self._connection = connect_to_reader(self._folder / "releases")
        self._connection.setblocking(False)

    def hang_up(self) -> None:
        """Take what was handed out and be away, as an exporter that was killed."""
        self._take()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def kill(self) -> None:
        """Kill the reader, unless it is dead, and take what it had handed out."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self.bury()

    def bury(self) -> int:
        """Wait for the reader's end, take what it had handed out, and return its exit status."""
        assert self._process is not None
        status = self._process.wait(_LONGEST_SECONDS)
        self.hang_up()
        return status

    def is_dead(self) -> bool:
        """Tell whether the reader has ended, and take what it hands out."""
        assert self._process is not None
        self._take()
        return self._process.poll() is not None

    def is_ready(self) -> bool:
        """Tell whether this reader has handed something out."""
        self._take()
        return self._has_heard

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until *condition* holds."""
        deadline = time.monotonic() + _LONGEST_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"not within {_LONGEST_SECONDS} s: {what}"
            time.sleep(0.005)

    def process_id(self) -> int:
        """Return the reader's."""
        assert self._process is not None
        return self._process.pid

    def until_kept(self, times: int) -> None:
        """Wait until so many more checkpoints were written."""
        wanted = self._kept_times() + times
        self.until(lambda: self._kept_times() >= wanted, f"{times} checkpoints")

    def _kept_times(self) -> int:
        """Return the sequence of the newest checkpoint (continuity/journal.py)."""
        heads = []
        with (self._folder / "state").open("rb") as file:
            for number in (0, 1):
                file.seek(journal._HEADING_BYTES + number * journal.SLOT_BYTES)
                heads.append(journal._HEAD.unpack(file.read(journal._HEAD.size)))
        return max(int(head[2]) for head in heads)

    def kept(self) -> Run:
        """Return what a dead reader has left."""
        return kept_run(self._folder / "state")

    def kept_total(self) -> Totals:
        """Return what a dead reader has left of the tunnels' bytes."""
        return self.kept().ledger.standing().total(Role.TUNNEL)

    def close(self) -> None:
        """End the reader and close everything."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for each in (self._links.events, self._links.dumps, self._releases, self._connection):
            if each is not None:
                each.close()

    def _take(self) -> None:
        if self._connection is None:
            return
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while frame := self._connection.recv(2 * FRAME_BYTES):
                self._has_heard = True
                release = decode_frame(frame)
                if is_past(frame):
                    self.past.append(release)
                else:
                    self.handed_out.append((self.clock.now().utc_seconds, release))


@contextlib.contextmanager
def supervised(namespace: str, *, speed: float) -> Iterator[Supervised]:
    """Hold the sockets of *namespace* and a place for a state, until the end."""
    folder = Path(tempfile.mkdtemp(prefix="trafficd-", dir=_IN_RAM))
    try:
        with contextlib.closing(Supervised(namespace, folder, speed=speed)) as found:
            yield found
    finally:
        shutil.rmtree(folder)

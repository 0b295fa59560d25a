"""A private namespace with the real reader and exporter in it, on a fast clock, and one command.

The namespace starts empty and nobody's traffic is in it: that is what allows the clock. It has no
name, and ends with the processes in it.
"""

import fcntl
import http.client
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgspec

from trafficd.config import AgentSettings, MetricsSettings
from trafficd.demo.clock import FastClock
from trafficd.demo.halves import count, serve
from trafficd.demo.namespaces import enter_network_namespace
from trafficd.demo.processes import WATCHED, Family
from trafficd.errors import TrafficdError
from trafficd.kernel.sockets import open_link_sockets
from trafficd.releases import Release
from trafficd.rules import HOST_NAMESPACE
from trafficd.service.releases import connected_releases
from trafficd.units import ListenAddress
from trafficd.wire.frame import FRAME_BYTES, decode_frame

# linux/sockios.h, net/if.h
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_LISTEN = ListenAddress("127.0.0.1:9787")
# How long a window takes in the world unless --speed says otherwise.
WINDOW_TAKES_SECONDS = 5.0
_READY_SECONDS = 20.0
# The release after the command is at most two windows away; a busy machine may miss some.
_MOST_WINDOWS = 10
_LOOK_SECONDS = 0.05


Condition = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class LabResult:
    """What came of it: the command's exit status, the releases, and the last page."""

    status: int
    releases: list[Release]
    page: str


def run_lab(settings: AgentSettings, command: Sequence[str], *, speed: float) -> LabResult:
    """Run *command* in a namespace that is counted, until the grid point after its end.

    Raises: TrafficdError if no namespace can be made, or a process of the lab ended by itself.
    """
    if settings.namespaces:
        raise TrafficdError("namespaces: the lab has one of its own only; take the key out")
    try:
        enter_network_namespace()
    except OSError as error:
        raise TrafficdError(f"no private network namespace: {error.strerror}") from error
    _bring_loopback_up()
    settings = msgspec.structs.replace(
        settings, metrics=MetricsSettings(listen=(_LISTEN,), path=settings.metrics.path)
    )
    with Family.together() as family:
        return _Lab(family, settings, speed).run(command)


class _Lab:
    """The processes of a lab; every frame of the reader passes through here to the exporter."""

    def __init__(self, family: Family, settings: AgentSettings, speed: float) -> None:
        self._family = family
        self._settings = settings
        self._clock = FastClock.starting_in(0.0, window_seconds=settings.window, speed=speed)
        self._releases: list[Release] = []
        reader_end, self._from_reader = connected_releases()
        self._to_exporter, exporter_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        links = open_link_sockets(HOST_NAMESPACE)
        kept = (links.events, links.dumps, reader_end)
        family.start(
            "reader",
            partial(count, settings, self._clock, links, reader_end),
            keep=[each.fileno() for each in kept],
        )
        family.start(
            "exporter",
            partial(serve, settings, exporter_end, self._clock),
            keep=[exporter_end.fileno()],
        )
        for each in (*kept, exporter_end):
            each.close()
        self._from_reader.setblocking(False)

    def run(self, command: Sequence[str]) -> LabResult:
        self._wait_for(lambda: bool(self._releases), _READY_SECONDS)
        # The first is the page of zeros, which says that the reader counts.
        self._releases.clear()
        self._wait_for(lambda: bool(self._page()), _READY_SECONDS)
        status = self._run_command(command)
        ended_at = self._clock.now().utc_seconds
        self._wait_for(
            lambda: bool(self._releases) and self._releases[-1].at >= ended_at,
            _MOST_WINDOWS * self._clock.real(self._settings.window) + _READY_SECONDS,
        )
        newest = self._releases[-1].at
        self._wait_for(lambda: newest in _release_times(self._page()), _READY_SECONDS)
        return LabResult(status, self._releases, self._page())

    def _run_command(self, command: Sequence[str]) -> int:
        try:
            started = self._start_command(command)
        except OSError as error:
            raise TrafficdError(f"{command[0]}: cannot be run: {error.strerror}") from error
        with started as process:
            try:
                while process.poll() is None and not self._family.wait(_LOOK_SECONDS):
                    self._relay()
                was_interrupted = process.poll() is None
            finally:
                # Nothing of it may go on in a namespace that is being taken away.
                process.kill()
        if was_interrupted:
            raise KeyboardInterrupt
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def _start_command(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        # What the family waits for here is blocked, and would be so in the command as well.
        blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        try:
            return subprocess.Popen(command)  # noqa: S603  # it is the operator's own
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _wait_for(self, is_there: Condition, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not is_there():
            if time.monotonic() > deadline:
                raise TrafficdError("the lab's release did not come; try a lower --speed")
            if self._family.wait(_LOOK_SECONDS):
                raise KeyboardInterrupt
            self._relay()

    def _relay(self) -> None:
        with suppress(BlockingIOError):
            while frame := self._from_reader.recv(FRAME_BYTES + 1):
                self._releases.append(decode_frame(frame))
                self._to_exporter.send(frame)

    def _page(self) -> str:
        """Return what the exporter serves, or nothing while it is not there."""
        client = http.client.HTTPConnection(_LISTEN.host or "", _LISTEN.port, timeout=5)
        try:
            client.request("GET", self._settings.metrics.path)
            return client.getresponse().read().decode()
        except OSError:
            return ""
        finally:
            client.close()


def _release_times(page: str) -> list[float]:
    lines = (line.split() for line in page.splitlines())
    return [float(line[1]) for line in lines if line[0] == "trafficd_release_timestamp_seconds"]


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("=16sH22x", b"lo", _IFF_UP))

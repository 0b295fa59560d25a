"""What the links of a laboratory truly moved, told by who moves it to the demo.

Both ends speak over one socket of whole messages. The one that makes the traffic reports; the demo
says from which grid point on it has seen the release, and the traffic that waited goes on.
"""

import contextlib
import select
import socket
import struct
from dataclasses import dataclass

from trafficd.errors import HalfEndedError
from trafficd.releases import Totals

_REPORT = struct.Struct("!q6Q")
_POINT = struct.Struct("!q")
NOT_STILL = -1


@dataclass(frozen=True, slots=True)
class Truth:
    """What was moved, to the byte; no node publishes this.

    Units: *still_at* is the grid point for which nothing moves, NOT_STILL where something does.
    """

    still_at: int
    uplink: Totals
    tunnel: Totals
    sessions_opened: int
    sessions_open: int


class Reporter:
    """The end of who makes the traffic."""

    def __init__(self, demo: socket.socket) -> None:
        demo.setblocking(False)
        self._socket = demo
        self.seen_point = NOT_STILL

    def report(self, truth: Truth) -> None:
        """Tell *truth*; a demo that was suspended and reads nothing misses it."""
        with contextlib.suppress(BlockingIOError):
            self._socket.send(
                _REPORT.pack(
                    truth.still_at,
                    truth.uplink.rx_bytes,
                    truth.uplink.tx_bytes,
                    truth.tunnel.rx_bytes,
                    truth.tunnel.tx_bytes,
                    truth.sessions_opened,
                    truth.sessions_open,
                )
            )

    def listen(self, seconds: float) -> None:
        """Wait so long, or until the demo has said what it saw.

        Raises: HalfEndedError if the demo is gone.
        """
        if not select.select([self._socket], [], [], max(0.0, seconds))[0]:
            return
        said = self._socket.recv(_POINT.size)
        if not said:
            raise HalfEndedError("the demo is gone")
        (self.seen_point,) = _POINT.unpack(said)


class Witness:
    """The demo's end."""

    def __init__(self, reporter: socket.socket) -> None:
        reporter.setblocking(False)
        self._socket = reporter
        self.latest: Truth | None = None

    def look(self) -> None:
        """Take what was reported since the last look."""
        # One that is gone is noticed as a process that ended, with its name.
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while said := self._socket.recv(_REPORT.size):
                still_at, *counts, opened, still_open = _REPORT.unpack(said)
                uplink, tunnel = Totals(*counts[:2]), Totals(*counts[2:])
                self.latest = Truth(still_at, uplink, tunnel, opened, still_open)

    def saw(self, point: int) -> None:
        """Let the traffic that waits for *point* to be released go on."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self._socket.send(_POINT.pack(point))

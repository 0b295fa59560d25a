"""What systemd is told of a half: that it is ready, that it lives, and one line (sd_notify(3)).

The line has room for a window, grid points and a few fixed words, and nothing else.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping

from trafficd.units import Duration

_MICROSECONDS = 1_000_000


class ServiceManager:
    """The socket that systemd hands a unit of Type=notify; without one, nobody is told."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Connect; called before the process is locked, which forbids addresses."""
        self._socket: socket.socket | None = None
        self._said = ""
        address = environment.get("NOTIFY_SOCKET", "")
        # Another process of the unit may have been meant (sd_watchdog_enabled(3)).
        is_watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = environment.get("WATCHDOG_USEC", "") if is_watched else ""
        self.watchdog_seconds = int(watchdog) / _MICROSECONDS if watchdog.isdigit() else 0.0
        if address:
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            connected.setblocking(False)
            connected.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            connected.shutdown(socket.SHUT_RD)
            self._socket = connected

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ready(self, status: str) -> None:
        """Say that the start is over."""
        self._said = status
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Say the one line, if it is another than before."""
        if status != self._said:
            self._said = status
            self._send(f"STATUS={status}")

    async def keep_alive(self) -> None:
        """Say that the loop goes round, twice as often as it has to be said, for ever."""
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / 2)

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        # Where pid 1 is busy or restarts itself; what it misses is said again, or not needed.
        with contextlib.suppress(OSError):
            self._socket.send(message.encode())


def reader_status(window: Duration, due: int, *, is_refused: bool) -> str:
    """Return the reader's line: its window, and when the next release is due."""
    told = f"window {window.written}, next grid point {_utc(due)}"
    return f"{told}; configuration refused, going on with the last good one" if is_refused else told


def exporter_status(at: int) -> str:
    """Return the exporter's line: which release it shows."""
    return f"showing the release of {_utc(at)}" if at else "showing a page of zeros"


def _utc(instant: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(instant))

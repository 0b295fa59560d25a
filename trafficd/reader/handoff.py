"""Releases to the exporter, over connections that have only one direction."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable

from trafficd.wire.frame import FRAME_BYTES, past_frame

# The exporter, and one that takes its place while the old one is not gone yet.
_MOST_CONNECTIONS = 4

Kept = Callable[[], Iterable[bytes]]


class Handoff:
    """The reader's end: whoever connects gets the latest release, those before it, and all to come.

    *kept* returns the frames of past releases, oldest first and trimmed.
    """

    def __init__(self, listener: socket.socket, kept: Kept) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._kept = kept
        self._latest = b""
        self._connections: list[_Connection] = []

    def start(self, latest: bytes) -> None:
        """Answer connections from now on, with the frame *latest* at first."""
        self._latest = latest
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Close the sockets; an exporter sees its end."""
        asyncio.get_running_loop().remove_reader(self._listener.fileno())
        self._listener.close()
        for each in self._connections:
            each.close()

    def send(self, frame: bytes) -> None:
        """Hand *frame*, a new release, to everyone connected."""
        self._latest = frame
        for each in self._connections:
            each.send(frame)
        self._drop_the_dead()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # gone again before it was answered
        self._drop_the_dead()
        if len(self._connections) == _MOST_CONNECTIONS:
            self._connections.pop(0).close()
        accepted = _Connection(connection)
        self._connections.append(accepted)
        accepted.send(self._latest, *self._kept())
        self._drop_the_dead()

    def _drop_the_dead(self) -> None:
        self._connections = [each for each in self._connections if each.is_alive]


class _Connection:
    """One exporter; what it does not take at once waits for it here."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        # Bytes that the exporter sends never reach the reader: the kernel fails its send.
        connection.shutdown(socket.SHUT_RD)
        self._socket = connection
        # Past frames as they are kept: there are thousands of them, and most of one is zeros.
        self._waiting: deque[bytes] = deque()
        self.is_alive = True

    def close(self) -> None:
        """Close the socket, whatever waits."""
        if self.is_alive:
            self.is_alive = False
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
            self._socket.close()

    def send(self, frame: bytes, *past: bytes) -> None:
        """Send *frame* and the *past* ones behind what waits, as soon as there is room."""
        self._waiting += (frame, *past)
        self._go_on()

    def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        while self.is_alive and self._waiting:
            try:
                first = self._waiting[0]
                self._socket.send(first if len(first) == FRAME_BYTES else past_frame(first))
            except BlockingIOError:
                loop.add_writer(self._socket.fileno(), self._go_on)
                return
            except OSError:
                self.close()
                return
            self._waiting.popleft()
        if self.is_alive:
            loop.remove_writer(self._socket.fileno())

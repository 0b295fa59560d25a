"""RTM_NEWLINK and RTM_DELLINK as values, from a socket that joined the link group."""

import errno
import socket
import struct
from collections.abc import Iterator

from trafficd.errors import EventsOverrunError
from trafficd.kernel.link_message import Decoded, decode_link_messages

# A link message is 1 to 2 KB; the kernel allocates no more than this for one (netlink(7)).
_DATAGRAM_BYTES = 1 << 16
_KERNEL_PORT = 0
# asm-generic/socket.h; the second holds what linux/sock_diag.h numbers, drops the ninth of them.
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_SK_MEMINFO_DROPS = 8


class EventSocket:
    """The queue of link events that the kernel keeps for us.

    An event is looked at while it is in the queue still, and taken from it when whoever asked for
    it comes back for the next: if the process ends in between, its successor finds it there.
    """

    def __init__(self, event_socket: socket.socket) -> None:
        event_socket.setblocking(False)
        self._socket = event_socket
        self._buffer = memoryview(bytearray(_DATAGRAM_BYTES))
        # Of the messages that were dropped, how many whoever drains has been told of.
        self.told_drops = self._drops()

    def fileno(self) -> int:
        """Return the descriptor, for the loop's add_reader."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _drops(self) -> int:
        """Return how many messages the kernel dropped here for want of room, ever.

        It counts for a reader that was killed as well, unlike ENOBUFS, which is said once.
        """
        information = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(information)[_SK_MEMINFO_DROPS])

    def drain(self, most: int | None = None) -> Iterator[Decoded]:
        """Yield what is queued, a datagram at a time, until the queue is empty or *most* are read.

        Names in it are views of the datagram, and zeros once the next one is asked for.
        Raises: EventsOverrunError, at the end, if the kernel dropped events since the last time.
        What was queued on either side of the gap is true and has been yielded.
        """
        while most is None or most > 0:
            size, port = self._receive(self._buffer, socket.MSG_PEEK)
            if not size:
                break
            if port == _KERNEL_PORT:
                yield decode_link_messages(self._buffer[:size])
            # What is read of a datagram does not matter: the rest of it goes as well.
            self._receive(self._buffer[:1], 0)
            self._buffer[:size] = bytes(size)
            if most is not None:
                most -= 1
        drops = self._drops()
        if drops != self.told_drops:
            self.told_drops = drops
            raise EventsOverrunError

    def _receive(self, buffer: memoryview, flags: int) -> tuple[int, int]:
        """Return how long the next datagram is and who sent it; no bytes if there is none."""
        while True:
            try:
                size, (port, _) = self._socket.recvfrom_into(buffer, len(buffer), flags)
            except BlockingIOError:
                return 0, _KERNEL_PORT
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue  # drops were counted
            return size, port

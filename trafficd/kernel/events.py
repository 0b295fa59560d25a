"""RTM_NEWLINK and RTM_DELLINK as values, from a socket that joined the link group."""

import errno
import socket
from collections.abc import Iterator

from trafficd.errors import EventsOverrunError
from trafficd.kernel.link_message import Decoded, decode_link_messages

# A link message is 1 to 2 KB; the kernel allocates no more than this for one (netlink(7)).
_DATAGRAM_BYTES = 1 << 16
_KERNEL_PORT = 0


class EventSocket:
    """The queue of link events that the kernel keeps for us."""

    def __init__(self, event_socket: socket.socket) -> None:
        event_socket.setblocking(False)
        self._socket = event_socket
        self._buffer = memoryview(bytearray(_DATAGRAM_BYTES))

    def fileno(self) -> int:
        """Return the descriptor, for the loop's add_reader."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def drain(self, most: int | None = None) -> Iterator[Decoded]:
        """Yield what is queued, a datagram at a time, until the queue is empty or *most* are read.

        Raises: EventsOverrunError, at the end, if the kernel dropped events on the way. What was
        queued on either side of the gap is true and has been yielded.
        """
        has_overrun = False
        while most is None or most > 0:
            try:
                size, (port, _) = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                has_overrun = True
                continue
            if port == _KERNEL_PORT:
                yield decode_link_messages(bytes(self._buffer[:size]))
            if most is not None:
                most -= 1
        if has_overrun:
            raise EventsOverrunError

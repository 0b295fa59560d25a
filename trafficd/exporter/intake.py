"""Releases from the reader, over a socket that has only one direction."""

import asyncio
import socket

from trafficd.errors import HalfEndedError
from trafficd.releases import Release
from trafficd.wire.frame import FRAME_BYTES, decode_frame

_GRACE_SECONDS = 0.5


class Intake:
    """The exporter's end: it takes frames, and the kernel lets nothing be sent."""

    def __init__(self, reader: socket.socket) -> None:
        reader.setblocking(False)
        reader.shutdown(socket.SHUT_WR)
        self._socket = reader

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def next_release(self) -> Release:
        """Return the next release, when there is one.

        Raises: HalfEndedError if the reader is gone, MalformedFrameError if it speaks otherwise.
        """
        # One more than a frame, so that a longer one is seen to be longer.
        frame = await asyncio.get_running_loop().sock_recv(self._socket, FRAME_BYTES + 1)
        if not frame:
            # Where both are told to stop, the reader may be the quicker: our own signal is coming.
            await asyncio.sleep(_GRACE_SECONDS)
            raise HalfEndedError("exporter: the reader is gone")
        return decode_frame(frame)

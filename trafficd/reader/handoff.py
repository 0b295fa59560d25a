"""Releases to the exporter, over a socket that has only one direction."""

import socket

from trafficd.errors import HalfEndedError
from trafficd.releases import Release
from trafficd.wire.frame import encode_frame


class Handoff:
    """The reader's end: it sends frames, and the kernel lets nothing come back."""

    def __init__(self, exporter: socket.socket) -> None:
        exporter.setblocking(False)
        exporter.shutdown(socket.SHUT_RD)
        self._socket = exporter

    def close(self) -> None:
        """Close the socket; the exporter sees its end."""
        self._socket.close()

    def send(self, release: Release) -> None:
        """Hand *release* out.

        An exporter that has left dozens of frames unread misses this one: totals are cumulative,
        so the next holds its bytes.
        Raises: HalfEndedError if the exporter is gone.
        """
        try:
            self._socket.send(encode_frame(release))
        except BlockingIOError:
            return
        except OSError as error:
            raise HalfEndedError("reader: the exporter is gone") from error

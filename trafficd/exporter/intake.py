"""Releases from the reader, over a socket that has only one direction.

The reader is not believed: a release may name the operator's classes and no others, and tell whole
multiples of the rounding, or it is not shown. So the words in it are words of the configuration.
"""

import asyncio
import socket
from collections.abc import Callable, Collection

from trafficd.errors import HalfEndedError
from trafficd.log import Message, say
from trafficd.releases import Release
from trafficd.schema import ROUNDING_BYTES
from trafficd.wire.frame import FRAME_BYTES, decode_frame, is_past

_GRACE_SECONDS = 0.5

Classes = Callable[[], Collection[str]]
Keep = Callable[[Release, bytes], object]


class Intake:
    """The exporter's end: it takes frames, and the kernel lets nothing be sent."""

    def __init__(
        self, reader: socket.socket, classes: Classes, *, keep: Keep | None = None
    ) -> None:
        """Take frames from *reader*; *classes* returns those that are configured by now.

        *keep* is given every release that may leave, with its frame: those that are shown and,
        behind the first of them, those that this exporter missed.
        """
        self._classes = classes
        self._keep = keep
        self._has_refused_past = False
        reader.setblocking(False)
        reader.shutdown(socket.SHUT_WR)
        self._socket = reader

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def next_release(self) -> Release:
        """Return the next release that may be shown, when there is one.

        Raises: HalfEndedError if the reader is gone, MalformedFrameError if it speaks otherwise.
        """
        while True:
            frame = await self._next_frame()
            release = decode_frame(frame)
            may_leave = may_be_shown(release, self._classes())
            if may_leave and self._keep is not None:
                self._keep(release, frame)
            # The page shows the latest, which came before those that this exporter missed.
            if is_past(frame):
                self._refuse_past(may_leave=may_leave)
                continue
            if may_leave:
                return release
            say(Message.RELEASE_REFUSED)

    def _refuse_past(self, *, may_leave: bool) -> None:
        # Said once: a class that is configured no more may stand in a month of them.
        if self._keep is not None and not may_leave and not self._has_refused_past:
            self._has_refused_past = True
            say(Message.RELEASE_REFUSED)

    async def _next_frame(self) -> bytes:
        # One more than a frame, so that a longer one is seen to be longer.
        frame = await asyncio.get_running_loop().sock_recv(self._socket, FRAME_BYTES + 1)
        if not frame:
            # Where both are told to stop, the reader may be the quicker: our own signal is coming.
            await asyncio.sleep(_GRACE_SECONDS)
            raise HalfEndedError("exporter: the reader is gone")
        return frame


def may_be_shown(release: Release, classes: Collection[str]) -> bool:
    """Return whether *release* holds *classes* and no others, and rounded totals."""
    totals = (release.uplink, release.tunnel, *(each for _, each in release.classes))
    return all(name in classes for name, _ in release.classes) and not any(
        each.rx_bytes % ROUNDING_BYTES or each.tx_bytes % ROUNDING_BYTES for each in totals
    )

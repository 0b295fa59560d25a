"""Where the links of a table come from, and whether it is the same place as before a restart."""

import msgspec

from trafficd.continuity.checkpoint import SocketsState
from trafficd.kernel.sockets import LinkSockets, namespace_cookie, socket_cookie
from trafficd.reader.run import Run


class Source:
    """A namespace and its queue of events, and the table of its links.

    *before* is what they were when the run was kept, until the reader has gone on from there; None
    where the table is new.
    """

    def __init__(self, run: Run, sockets: LinkSockets) -> None:
        """Claim the table that *run* has of the same namespace, or open one."""
        self._now = SocketsState(
            namespace=sockets.namespace,
            namespace_cookie=namespace_cookie(sockets.events),
            socket_cookie=socket_cookie(sockets.events),
            drops=0,
        )
        self.table, self.before = run.claim(self._now)

    @property
    def is_gap(self) -> bool:
        """Whether the queue is another one than before, so that events may be missing."""
        return self.before is not None and self.before.socket_cookie != self._now.socket_cookie

    def state(self, drops: int) -> SocketsState:
        """Return what a successor has to compare with."""
        return self.before or msgspec.structs.replace(self._now, drops=drops)

"""The history on its way into the demo's collector: two processes make it, and a third waits.

One packs messages, and the collector-to-be reads and stores them, so that both of two cores are
busy. The file is made in memory, where no disk has to be waited for, and then put in its place.
"""

import contextlib
import shutil
import signal
import socket
import struct
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from trafficd.demo.fleet import Member, Span
from trafficd.demo.processes import Family
from trafficd.errors import TrafficdError

# Of 8 nodes and two years the file is 16 MB, and its log as much at most.
_MEMORY = Path("/dev/shm")  # noqa: S108  # a new directory in it, which is ours alone
_ROOM_BYTES = 48 << 20
_HEAD = struct.Struct("=HI")
_BUFFER_BYTES = 1 << 20
_DONE = struct.Struct("=B")
ALL_PERCENT = 100
# What parts of the time it takes to store releases, to mark days, and to sum them up.
_STORING, _MARKING, _SUMMING_UP = 0.6, 0.15, 0.25
# As retention.py has it.
_DAYS_A_STEP = 8


class Loading:
    """What the demo knows of it."""

    def __init__(self) -> None:
        self._socket, self.teller = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self.percent = 0

    def look(self) -> int:
        """Return how much is done, in percent."""
        # One that is gone is noticed as a process that ended.
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while said := self._socket.recv(_DONE.size):
                (self.percent,) = _DONE.unpack(said)
        return self.percent

    def close(self) -> None:
        """Look no more."""
        self._socket.close()
        self.teller.close()


def load(database: Path, members: Sequence[Member], span: Span, teller: socket.socket) -> bool:
    """Put the history of *members*, who may write there, into *database*; False if told to stop.

    Raises: TrafficdError if it cannot be made or stored.
    """
    from trafficd.collector.store import Store
    from trafficd.demo import history

    with Family.together() as family, _in_memory(database) as file:
        found = _start_packing(family, members, span)
        told = _Told(teller, family)
        total, points = history.count(members, span) + 1, history.points(span) + 1
        sums = len(members) * span.days // _DAYS_A_STEP + 1
        try:
            with contextlib.closing(Store(file)) as store:
                nodes = {known.node.name: known.node for known in store.nodes()}
                of_fleet = [nodes[member.name] for member in members]
                history.take(
                    store,
                    of_fleet,
                    found,
                    span.until,
                    lambda count: told.tell(_STORING * count / total),
                )
                history.sum_up(
                    store,
                    span.until,
                    lambda steps: told.tell(
                        _STORING
                        + _MARKING * min(steps, points) / points
                        + _SUMMING_UP * max(0, steps - points) / sums
                    ),
                )
        except _StoppedError:
            return False
    teller.send(_DONE.pack(ALL_PERCENT))
    return True


class _Told:
    """What the demo was told of it."""

    def __init__(self, teller: socket.socket, family: Family) -> None:
        self._teller = teller
        self._family = family
        self._percent = 0

    def tell(self, done: float) -> None:
        """Tell it that so much is done, 1 for all.

        Raises: _StoppedError if it asked us to stop, TrafficdError if the other process ended.
        """
        percent = min(ALL_PERCENT - 1, int(done * ALL_PERCENT))
        if percent != self._percent:
            # So few that there is always room, whether anybody looks or not.
            self._teller.send(_DONE.pack(percent))
            self._percent = percent
        if self._family.wait(0.0):
            raise _StoppedError


class _StoppedError(Exception):
    """A signal asked the demo to stop."""


@contextlib.contextmanager
def _in_memory(database: Path) -> Iterator[Path]:
    """Return a copy of *database* that takes its place at the end, or itself without the room."""
    try:
        if shutil.disk_usage(_MEMORY).free < _ROOM_BYTES:
            folder = None
        else:
            folder = tempfile.TemporaryDirectory(prefix="trafficd-demo-", dir=_MEMORY)
    except OSError:
        folder = None
    if folder is None:
        yield database
        return
    with folder as name:
        file = Path(name) / database.name
        shutil.copy(database, file)
        yield file
        shutil.copy(file, database)


def _start_packing(
    family: Family, members: Sequence[Member], span: Span
) -> Iterator[tuple[int, bytes]]:
    """Start the process that packs; yield what comes from it."""
    ours, theirs = socket.socketpair()
    family.start("history", partial(_pack, members, span, theirs), keep=[theirs.fileno()])
    theirs.close()
    return _received(ours)


def _pack(members: Sequence[Member], span: Span, to: socket.socket) -> None:
    from trafficd.demo import history

    with to.makefile("wb", buffering=_BUFFER_BYTES) as stream:
        for number, message in history.messages(members, span):
            stream.write(_HEAD.pack(number, len(message)))
            stream.write(message)
    to.shutdown(socket.SHUT_WR)
    # Who ends by itself would seem to have failed.
    signal.pause()


def _received(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    with connection, connection.makefile("rb", buffering=_BUFFER_BYTES) as stream:
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            number, size = _HEAD.unpack(head)
            message = stream.read(size)
            if len(message) != size:
                raise TrafficdError("the history ended in the middle of a message")
            yield number, message

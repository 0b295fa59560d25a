"""Link events a second, decoded and accounted on one core, as a real kernel sent them."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from statistics import median

from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from bench.laboratory import Laboratory, UnsoundError
from bench.sessions import Truth, run_sessions
from bench.table import Row
from bench.watched import Watched, watched
from trafficd.kernel.events import EventSocket
from trafficd.kernel.link_message import Decoded, decode_link_messages
from trafficd.kernel.sockets import open_link_sockets
from trafficd.rules import Role

LEAST_A_SECOND = 20_000

# All their events wait in the sockets' queues until they are read: 2,000 sessions fill a third.
_SESSIONS = 2_000
_PACKETS = 3
_PACKET_BYTES = 1_000
_ROUNDS = 5
_REPLAYS = 15
_DATAGRAM_BYTES = 1 << 16
# Enough for the peer's rate; it takes a millisecond for each.
_PEER_DATAGRAMS = 400


def measure(laboratory: Laboratory) -> list[Row]:
    """Return the rows of events read from a socket, and of the same events replayed."""
    return asyncio.run(_measure(laboratory))


async def _measure(laboratory: Laboratory) -> list[Row]:
    from_socket = []
    with laboratory.namespace() as namespace:
        for _ in range(_ROUNDS):
            with watched(namespace) as at_work:
                await at_work.watch.resynchronise()
                recorder = _Recorder(namespace)
                truth = await run_sessions(
                    laboratory, namespace, _SESSIONS, packets=_PACKETS, packet_bytes=_PACKET_BYTES
                )
                datagrams = recorder.datagrams()
                seconds = await _seconds(at_work, truth)
                from_socket.append(_count(datagrams) / seconds)
        replayed = [await _replay(namespace, datagrams, truth) for _ in range(_REPLAYS)]
    peer = f"pyroute2's decoder alone {_peer(datagrams[:_PEER_DATAGRAMS]):,.0f}"
    return [
        _row("read from the socket, accounted", median(from_socket), peer),
        _row("recorded, decoded, accounted", median(replayed), peer),
    ]


def _row(case: str, a_second: float, peer: str) -> Row:
    return Row.held(
        f"link events, {case}",
        f"{a_second:,.0f} a second",
        f">= {LEAST_A_SECOND:,} a second",
        is_held=a_second >= LEAST_A_SECOND,
        beside=peer,
    )


async def _replay(namespace: str, datagrams: Sequence[bytes], truth: Truth) -> float:
    """Return events a second with the recording in the place of the socket."""
    queue: deque[bytes] = deque()
    with watched(namespace, events=lambda each: _Recorded(each, queue)) as at_work:
        await at_work.watch.resynchronise()
        queue.extend(datagrams)
        return _count(datagrams) / await _seconds(at_work, truth)


async def _seconds(at_work: Watched, truth: Truth) -> float:
    """Return how long the watch takes for all that is queued; it also dumps, but lo alone."""
    started = time.perf_counter()
    await at_work.watch.sample()
    seconds = time.perf_counter() - started
    counted, faults = at_work.ledger.standing().total(Role.TUNNEL).rx_bytes, at_work.faults
    if counted != truth.rx_bytes or faults.overruns or faults.malformed:
        raise UnsoundError(f"{counted} bytes counted of {truth.rx_bytes}, {faults}")
    return seconds


def _count(datagrams: Sequence[bytes]) -> int:
    return sum(len(decode_link_messages(datagram).events) for datagram in datagrams)


def _peer(datagrams: Sequence[bytes]) -> float:
    """Return how many datagrams a second pyroute2 decodes to the values that trafficd uses."""
    marshal = MarshalRtnl()
    started = time.perf_counter()
    for datagram in datagrams:
        for message in marshal.parse(datagram):
            message.get("IFLA_STATS64")
    return len(datagrams) / (time.perf_counter() - started)


class _Recorder:
    """Keeps the datagrams of a namespace's link events as they came."""

    def __init__(self, namespace: str) -> None:
        sockets = open_link_sockets(namespace)
        sockets.dumps.close()
        sockets.events.setblocking(False)
        self._socket = sockets.events

    def datagrams(self) -> list[bytes]:
        """Return what is queued, and close the socket."""
        found = []
        with self._socket:
            while True:
                try:
                    found.append(self._socket.recv(_DATAGRAM_BYTES))
                except BlockingIOError:
                    return found


class _Recorded(EventSocket):
    """Takes datagrams from a recording instead of a socket's queue."""

    def __init__(self, event_socket: socket.socket, queue: deque[bytes]) -> None:
        super().__init__(event_socket)
        self._queue = queue

    def drain(self, most: int | None = None) -> Iterator[Decoded]:
        """Yield what is queued, all of it."""
        while self._queue:
            yield decode_link_messages(self._queue.popleft())

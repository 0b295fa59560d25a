"""Link events as the running kernel queues them, drops them, and as others forge them."""

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.conftest import Namespace
from tests.lab import (
    TunSession,
    open_and_close_sessions,
    queue_link_events,
    send_forged,
)
from trafficd.errors import EventsOverrunError
from trafficd.kernel.events import EventSocket
from trafficd.kernel.sockets import open_link_sockets
from trafficd.links import LinkChanged, LinkCounters, LinkEvent, LinkRemoved

pytestmark = pytest.mark.kernel


@contextlib.contextmanager
def listening(namespace: Namespace, buffer_bytes: int = 0) -> Iterator[tuple[EventSocket, int]]:
    """The events of *namespace* from now on, and the port of their socket."""
    sockets = open_link_sockets(namespace.name)
    sockets.dumps.close()
    if buffer_bytes:
        sockets.events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    port = sockets.events.getsockname()[0]
    with contextlib.closing(EventSocket(sockets.events)) as events:
        yield events, port


def test_final_counters_come_with_the_removal_of_a_session(namespace: Namespace) -> None:
    with listening(namespace) as (events, _):
        with TunSession(namespace.name, "tun0", rx_bytes=12_345) as tun:
            tun.transmit(namespace.name, 678)

        seen = drained(events)

    assert isinstance(seen[0], LinkChanged)
    assert seen[0].counters == LinkCounters(0, 0)
    assert isinstance(seen[-1], LinkRemoved)
    assert seen[-1].counters == LinkCounters(tun.rx_bytes, tun.tx_bytes)
    assert {event.identity.name for event in seen} == {"tun0"}


def test_a_queue_without_events_is_empty(namespace: Namespace) -> None:
    with listening(namespace) as (events, _):
        seen = drained(events)

    assert seen == []


def test_a_turn_reads_no_more_than_it_was_allowed_and_leaves_the_rest(
    namespace: Namespace,
) -> None:
    with listening(namespace) as (events, _):
        for number in range(5):
            namespace.ip("link", "add", f"br{number}", "type", "bridge")

        turns = [[e for d in events.drain(2) for e in d.events] for _ in range(4)]

    names = [[event.identity.name for event in turn] for turn in turns]
    assert names == [["br0", "br1"], ["br2", "br3"], ["br4"], []]


def test_an_overrun_is_told_once_and_what_was_queued_before_it_comes_all_the_same(
    namespace: Namespace,
) -> None:
    seen: list[LinkEvent] = []
    with listening(namespace, buffer_bytes=16_384) as (events, _):
        TunSession(namespace.name, "tun-first", rx_bytes=1000).close()
        queue_link_events(namespace.name, 300)
        TunSession(namespace.name, "tun-lost", rx_bytes=1000).close()

        with pytest.raises(EventsOverrunError):
            seen.extend(event for decoded in events.drain() for event in decoded.events)
        afterwards = drained(events)
        TunSession(namespace.name, "tun-last", rx_bytes=77).close()
        last = drained(events)

    assert [e.identity.name for e in seen if isinstance(e, LinkRemoved)] == ["tun-first"]
    assert {e.identity.name for e in seen} == {"tun-first", "noise"}
    assert afterwards == []
    assert last[-1].identity.name == "tun-last"
    assert last[-1].counters == LinkCounters(77, 0)


def test_the_queue_holds_sessions_by_the_hundred_that_nobody_read_yet(
    namespace: Namespace,
) -> None:
    with listening(namespace) as (events, _):
        granted_bytes = events._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        # Four events of some 2.3 KB each; without root the kernel grants a smaller queue.
        sizes = range(20, 20 + min(500, granted_bytes // 16_384))
        open_and_close_sessions(namespace.name, sizes)

        seen = drained(events)

    finals = [e.counters.rx_bytes for e in seen if isinstance(e, LinkRemoved) and e.counters]
    assert sorted(finals) == list(sizes)


def test_events_from_another_sender_than_the_kernel_are_ignored(namespace: Namespace) -> None:
    body = struct.pack("=BxHiII", 0, 65534, 2, 0, 0) + struct.pack("=HH8s", 12, 3, b"tun0")
    counted = struct.pack("=HH16xQQ", 204, 23, 2**50, 2**50).ljust(204, b"\0")
    forged = struct.pack("=IHHII", 16 + len(body) + 204, 17, 0, 0, 0) + body + counted

    with listening(namespace) as (events, port):
        send_forged(namespace.name, port, forged)
        send_forged(namespace.name, port, b"?")
        TunSession(namespace.name, "tun0", rx_bytes=321).close()
        send_forged(namespace.name, port, forged)
        seen = drained(events)

    assert seen
    assert max(e.counters.rx_bytes for e in seen if e.counters) == 321


def drained(events: EventSocket) -> list[LinkEvent]:
    return [event for decoded in events.drain() for event in decoded.events]

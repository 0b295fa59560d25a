"""Link events as the running kernel queues them, drops them, and as others forge them."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace

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
    assert {event.identity.name for event in seen} == {b"tun0"}


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

        turns = [drained(events, most=2) for _ in range(4)]

    names = [[event.identity.name for event in turn] for turn in turns]
    assert names == [[b"br0", b"br1"], [b"br2", b"br3"], [b"br4"], []]


def test_an_overrun_is_told_once_and_what_was_queued_before_it_comes_all_the_same(
    namespace: Namespace,
) -> None:
    seen: list[LinkEvent] = []
    with listening(namespace, buffer_bytes=16_384) as (events, _):
        TunSession(namespace.name, "tun-first", rx_bytes=1000).close()
        queue_link_events(namespace.name, 300)
        TunSession(namespace.name, "tun-lost", rx_bytes=1000).close()

        with pytest.raises(EventsOverrunError):
            drain_into(seen, events)
        afterwards = drained(events)
        TunSession(namespace.name, "tun-last", rx_bytes=77).close()
        last = drained(events)

    assert [e.identity.name for e in seen if isinstance(e, LinkRemoved)] == [b"tun-first"]
    assert {e.identity.name for e in seen} == {b"tun-first", b"noise"}
    assert afterwards == []
    assert last[-1].identity.name == b"tun-last"
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


def drained(events: EventSocket, most: int | None = None) -> list[LinkEvent]:
    found: list[LinkEvent] = []
    drain_into(found, events, most)
    return found


def drain_into(found: list[LinkEvent], events: EventSocket, most: int | None = None) -> None:
    for decoded in events.drain(most):
        found.extend(copied(event) for event in decoded.events)


def copied(event: LinkEvent) -> LinkEvent:
    """Return *event* with its name as it is until the next one is asked for."""
    return replace(event, identity=replace(event.identity, name=bytes(event.identity.name)))


def test_an_event_stays_in_the_queue_until_the_next_one_is_asked_for(namespace: Namespace) -> None:
    with listening(namespace) as (events, _):
        for number in range(3):
            namespace.ip("link", "add", f"br{number}", "type", "bridge")

        # As where the process is killed: nobody asks for the next one.
        first = [copied(each) for each in next(events.drain()).events]
        again = drained(events)

    assert [each.identity.name for each in first] == [b"br0"]
    assert [each.identity.name for each in again] == [b"br0", b"br1", b"br2"]


def test_a_name_is_there_until_the_next_event_is_asked_for(namespace: Namespace) -> None:
    with listening(namespace) as (events, _):
        for number in range(2):
            namespace.ip("link", "add", f"br{number}", "type", "bridge")

        queue = events.drain()
        (first,) = next(queue).events
        before = bytes(first.identity.name)
        next(queue)
        after = bytes(first.identity.name)

    assert before == b"br0"
    # The place is taken by the next message, of the same shape.
    assert after == b"br1"


def test_nothing_of_a_drained_queue_stays_in_memory(namespace: Namespace) -> None:
    with listening(namespace) as (events, _):
        TunSession(namespace.name, "tun0", rx_bytes=1000).close()
        drained(events)

        assert not any(events._buffer)


def test_drops_are_told_once_and_again_to_a_successor_who_was_not_told(
    namespace: Namespace,
) -> None:
    with listening(namespace, buffer_bytes=16_384) as (events, _):
        before = events.told_drops
        queue_link_events(namespace.name, 300)
        with pytest.raises(EventsOverrunError):
            drained(events)
        after = events.told_drops
        drained(events)

        assert before == 0
        assert after > 200
        events.told_drops = before
        with pytest.raises(EventsOverrunError):
            drained(events)

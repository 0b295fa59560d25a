"""The sockets of a namespace, as the reader is handed them."""

import contextlib
import socket
import uuid
from pathlib import Path

import pytest

from tests.conftest import Namespace, run
from tests.lab import TunSession
from trafficd.errors import TrafficdError
from trafficd.kernel.sockets import EVENT_BUFFER_BYTES, open_link_sockets

pytestmark = pytest.mark.kernel


def test_events_come_from_the_namespace_that_was_named_and_no_other(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    sockets = open_link_sockets(namespace.name)

    with sockets.events, sockets.dumps:
        sockets.events.setblocking(False)
        TunSession(other_namespace.name, "tun0").close()
        with pytest.raises(BlockingIOError):
            sockets.events.recv(1 << 16)
        TunSession(namespace.name, "tun0").close()
        event = sockets.events.recv(1 << 16)

    assert b"tun0\0" in event


def test_opening_them_leaves_the_process_in_its_own_namespace(namespace: Namespace) -> None:
    before = Path("/proc/thread-self/ns/net").stat().st_ino

    sockets = open_link_sockets(namespace.name)

    with sockets.events, sockets.dumps:
        assert Path("/proc/thread-self/ns/net").stat().st_ino == before


def test_a_namespace_that_does_not_exist_is_refused_and_not_made() -> None:
    name = f"trafficd-none-{uuid.uuid4().hex[:8]}"

    try:
        with pytest.raises(TrafficdError, match=f"namespace {name}: No such file"):
            close_both(name)
        exists = Path("/run/netns", name).exists()
    finally:
        with contextlib.suppress(AssertionError):
            run("ip", "netns", "del", name)

    assert not exists


def test_a_name_that_is_no_namespace_is_refused_and_leaves_the_process_where_it_is(
    namespace: Namespace,
) -> None:
    before = Path("/proc/thread-self/ns/net").stat().st_ino
    stray = Path("/run/netns", f"trafficd-stray-{uuid.uuid4().hex[:8]}")
    stray.write_text("")

    try:
        with pytest.raises(TrafficdError, match="cannot be entered"):
            close_both(stray.name)
    finally:
        stray.unlink()

    assert Path("/proc/thread-self/ns/net").stat().st_ino == before


def test_the_event_queue_is_as_large_as_the_kernel_grants(namespace: Namespace) -> None:
    sockets = open_link_sockets(namespace.name)

    with sockets.events, sockets.dumps:
        granted = sockets.events.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    # socket(7): the value is doubled; CAP_NET_ADMIN of the first user namespace lifts the limit.
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    is_limited = Path("/proc/self/uid_map").read_text().split()[1] != "0"
    assert granted == 2 * (min(limit, EVENT_BUFFER_BYTES) if is_limited else EVENT_BUFFER_BYTES)


def close_both(name: str) -> None:
    sockets = open_link_sockets(name)
    sockets.events.close()
    sockets.dumps.close()

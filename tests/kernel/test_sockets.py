"""The sockets of a namespace, as the reader is handed them."""

import contextlib
import socket
import uuid
from pathlib import Path

import pytest

import trafficd
from tests.conftest import Namespace, run
from tests.lab import TunSession
from trafficd.errors import SandboxError, TrafficdError
from trafficd.kernel.sockets import (
    EVENT_BUFFER_BYTES,
    open_link_sockets,
    open_unfiltered_socket,
)
from trafficd.sandbox.socket_filter import ANSWERS, EVENTS, installed, is_locked

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


def test_both_carry_their_filter_for_good(namespace: Namespace) -> None:
    sockets = open_link_sockets(namespace.name)

    with sockets.events, sockets.dumps:
        assert (installed(sockets.events), is_locked(sockets.events)) == (EVENTS, True)
        assert (installed(sockets.dumps), is_locked(sockets.dumps)) == (ANSWERS, True)


def test_the_filters_are_there_before_a_single_event_can_be_queued(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports: list[int] = []
    monkeypatch.setattr(
        "trafficd.kernel.sockets.attach", lambda sock, _: ports.append(sock.getsockname()[0])
    )

    close_both(namespace.name)

    assert ports == [0, 0]


def test_none_are_opened_where_a_filter_cannot_be_installed(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[socket.socket] = []

    def refuse(sock: socket.socket, _: object) -> None:
        seen.append(sock)
        raise SandboxError("socket filter: cannot be installed")

    monkeypatch.setattr("trafficd.kernel.sockets.attach", refuse)

    with pytest.raises(SandboxError, match="cannot be installed"):
        open_link_sockets(namespace.name)

    assert [sock.fileno() for sock in seen] == [-1]


def test_an_unfiltered_one_is_of_the_namespace_that_was_named(namespace: Namespace) -> None:
    with open_unfiltered_socket(namespace.name) as unfiltered:
        unfiltered.setblocking(False)
        unfiltered.bind((0, 1))
        TunSession(namespace.name, "tun0").close()
        event = unfiltered.recv(1 << 16)
        program = installed(unfiltered)

    assert b"tun0\0" in event
    assert program == ()


def test_only_the_inventory_of_the_terminal_command_opens_an_unfiltered_one() -> None:
    package = Path(trafficd.__file__).parent

    users = [each.name for each in package.rglob("*.py") if "unfiltered_socket" in each.read_text()]

    assert sorted(users) == ["inventory.py", "sockets.py"]


def close_both(name: str) -> None:
    sockets = open_link_sockets(name)
    sockets.events.close()
    sockets.dumps.close()

"""Opens the two netlink sockets of a namespace. The reader never does: they are handed to it."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trafficd.errors import TrafficdError
from trafficd.rules import HOST_NAMESPACE
from trafficd.sandbox.socket_filter import ANSWERS, EVENTS, attach, carries_another

_OWN_NAMESPACE = Path("/proc/self/ns/net")
_NAMED_NAMESPACES = Path("/run/netns")  # ip-netns(8)
_RTMGRP_LINK = 1  # linux/rtnetlink.h
# linux/socket.h and linux/netlink.h
_SOL_NETLINK = 270
_NETLINK_NO_ENOBUFS = 5
# asm-generic/socket.h
_SO_RCVBUFFORCE = 33
_SO_COOKIE = 57
_SO_NETNS_COOKIE = 71
# A link's removal takes about 2.3 KB of it: room for over 25,000 removals that nobody read yet
# (the kernel doubles the value for its own bookkeeping, socket(7)).
EVENT_BUFFER_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class LinkSockets:
    """One namespace: its link events, and a socket without a group for dumps."""

    namespace: str
    events: socket.socket
    dumps: socket.socket


def open_all_link_sockets(namespaces: Sequence[str]) -> list[LinkSockets]:
    """Return the sockets of the own namespace and of *namespaces*.

    Raises: TrafficdError as open_link_sockets does, and if two names mean one namespace, whose
    bytes would count twice.
    """
    known = {_identity(_OWN_NAMESPACE): "the own one"}
    found = [_open_here(HOST_NAMESPACE)]
    for name in namespaces:
        found.append(open_link_sockets(name))
        other = known.setdefault(_identity(_NAMED_NAMESPACES / name), name)
        if other != name:
            raise TrafficdError(f"namespace {name}: the same as {other}; name it once")
    return found


def _identity(namespace: Path) -> tuple[int, int]:
    """Return what tells one namespace from another (namespaces(7))."""
    status = namespace.stat()
    return status.st_dev, status.st_ino


def open_link_sockets(namespace: str) -> LinkSockets:
    """Return the sockets of *namespace*, by its name under /run/netns or ``host``.

    Raises: TrafficdError if there is no such namespace, or no right to enter it; SandboxError if
    their filters cannot be installed.
    """
    if namespace == HOST_NAMESPACE:
        return _open_here(namespace)
    with _inside(namespace):
        return _open_here(namespace)


def open_unfiltered_socket(namespace: str) -> socket.socket:
    """Return a socket that hears all the kernel says: for an operator's command, never the reader.

    Raises: TrafficdError if there is no such namespace, or no right to enter it.
    """
    if namespace == HOST_NAMESPACE:
        return _route_socket()
    with _inside(namespace):
        return _route_socket()


def filter_sockets(sockets: LinkSockets) -> bool:
    """Put the filters on sockets that somebody else opened, and drop what came before them.

    Sockets that have them already keep what is queued. So do those that carry another filter for
    good: of another version, which passed no less carefully on what its reader was to see. Returns
    False if there is such a one; it has to be opened anew.
    Raises: SandboxError if a socket takes no filter.
    """
    # An overrun would be an error that waits on the socket, for which systemd, where it holds the
    # socket alone, closes it with all that is queued (src/core/socket.c, socket_dispatch_io). The
    # kernel counts what it drops in any case.
    sockets.events.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
    pairs = ((sockets.events, EVENTS), (sockets.dumps, ANSWERS))
    is_other = [carries_another(sock, program) for sock, program in pairs]
    for (sock, program), other in zip(pairs, is_other, strict=True):
        if not other:
            attach(sock, program)
    return not any(is_other)


def socket_cookie(sock: socket.socket) -> int:
    """Return what tells *sock* from every other of this boot (SO_COOKIE)."""
    return _cookie(sock, _SO_COOKIE)


def namespace_cookie(sock: socket.socket) -> int:
    """Return what tells the namespace of *sock* from every other of this boot.

    0 where the kernel does not say: before Linux 5.14 (SO_NETNS_COOKIE).
    """
    try:
        return _cookie(sock, _SO_NETNS_COOKIE)
    except OSError:
        return 0


def _cookie(sock: socket.socket, option: int) -> int:
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, option, 8), sys.byteorder)


@contextlib.contextmanager
def _inside(namespace: str) -> Iterator[None]:
    """Be in *namespace* for a while; called where there is one thread."""
    # Here, because it costs its importer 20 MB, and most nodes have no further namespace.
    from pyroute2 import netns

    with contextlib.ExitStack() as opened:
        here = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        opened.callback(os.close, here)
        try:
            there = os.open(_NAMED_NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise TrafficdError(
                f"namespace {namespace}: {error.strerror}; see: ip netns"
            ) from error
        opened.callback(os.close, there)
        try:
            netns.setns(there)
        except OSError as error:
            raise TrafficdError(
                f"namespace {namespace}: cannot be entered; that takes CAP_SYS_ADMIN"
            ) from error
        try:
            yield
        finally:
            netns.setns(here)


def _open_here(namespace: str) -> LinkSockets:
    with contextlib.ExitStack() as opened:
        events = opened.enter_context(_route_socket())
        dumps = opened.enter_context(_route_socket())
        # Before they are bound, so that not one message is queued unfiltered.
        sockets = LinkSockets(namespace, events, dumps)
        filter_sockets(sockets)
        # Without CAP_NET_ADMIN the kernel grants at most net.core.rmem_max.
        events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, EVENT_BUFFER_BYTES)
        with contextlib.suppress(PermissionError):
            events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, EVENT_BUFFER_BYTES)
        events.bind((0, _RTMGRP_LINK))
        dumps.bind((0, 0))
        opened.pop_all()
    return sockets


def _route_socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

"""Gathers what a process has open. Sockets are asked through a duplicate, and nothing is taken."""

import os
import select
import socket
import sys
from pathlib import Path

from trafficd.audit import proc
from trafficd.audit.facts import Descriptor, NetlinkSocket, Socket
from trafficd.audit.finding import Unread
from trafficd.sandbox.inspect import duplicated_socket, joined_groups
from trafficd.sandbox.socket_filter import Program, installed, is_locked

# struct ucred, unix(7): process, user, group.
_PROCESS_BYTES = 4
_INET = (socket.AF_INET, socket.AF_INET6)


def open_descriptors(process: int, pidfd: int) -> tuple[Descriptor, ...] | Unread:
    """Return every open descriptor of *process*."""
    directory = proc.PROC / str(process)
    try:
        found = [int(each) for each in os.listdir(directory / "fd")]  # noqa: PTH208  # plain names
    except OSError as error:
        return Unread(f"{directory / 'fd'}: {error.strerror}")
    described = (_descriptor(directory, pidfd, number) for number in sorted(found))
    return tuple(each for each in described if each is not None)


def _descriptor(directory: Path, pidfd: int, number: int) -> Descriptor | None:
    """Return what *number* is; None if it has been closed meanwhile."""
    target = proc.link(directory / "fd" / str(number))
    info = proc.text(directory / "fdinfo" / str(number))
    if not target or isinstance(info, Unread):
        return None
    # proc_pid_fdinfo(5): the flags of open(2), in octal.
    (flags,) = (int(each.split()[1], 8) for each in info.splitlines() if each[:6] == "flags:")
    asked = None
    if target.startswith("socket:"):
        try:
            with duplicated_socket(pidfd, number) as duplicate:
                asked = _socket(duplicate)
        except OSError as error:
            asked = Unread(error.strerror or str(error))
    return Descriptor(number, target, flags & os.O_ACCMODE != os.O_RDONLY, asked)


def _socket(duplicate: socket.socket) -> Socket | Unread:
    family = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
    kind = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    protocol = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
    is_listening = bool(duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    if family in _INET:
        address, port = duplicate.getsockname()[:2]
        # The own address of a connection is not asked for: a listener's is the operator's word.
        shown = str(address) if is_listening else ""
        return Socket(family, kind, protocol, shown, int(port), is_listening=is_listening)
    if family == socket.AF_UNIX:
        name = duplicate.getsockname()
        shown = os.fsdecode(name).replace("\0", "@")
        return Socket(
            family,
            kind,
            protocol,
            shown,
            peer=_peer(duplicate),
            is_listening=is_listening,
            is_deaf=_is_deaf(duplicate),
        )
    if family == socket.AF_NETLINK:
        netlink = NetlinkSocket(_groups(duplicate), _program(duplicate), is_locked(duplicate))
        return Socket(family, kind, protocol, netlink=netlink)
    return Socket(family, kind, protocol)


def _peer(duplicate: socket.socket) -> int:
    credentials = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 3 * _PROCESS_BYTES)
    return int.from_bytes(credentials[:_PROCESS_BYTES], sys.byteorder)


def _is_deaf(duplicate: socket.socket) -> bool:
    """Tell whether the socket, or its peer, has given up that anything comes in (poll(2))."""
    asked = select.poll()
    asked.register(duplicate, select.POLLRDHUP)
    return bool(asked.poll(0))


def _groups(duplicate: socket.socket) -> tuple[int, ...] | Unread:
    try:
        return joined_groups(duplicate)
    except OSError as error:
        return Unread(error.strerror or str(error))


def _program(duplicate: socket.socket) -> Program | Unread:
    try:
        return installed(duplicate)
    except OSError as error:
        return Unread(error.strerror or str(error))

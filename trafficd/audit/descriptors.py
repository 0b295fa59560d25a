"""Gathers what a process has open. Sockets are asked through a duplicate, and nothing is taken."""

import fcntl
import os
import select
import socket
import stat
import struct
import sys
import termios
from collections.abc import Iterable
from pathlib import Path

from trafficd.audit import proc
from trafficd.audit.facts import Descriptor, NetlinkSocket, Socket, SocketFile
from trafficd.audit.finding import Unread
from trafficd.sandbox.inspect import duplicated_socket, joined_groups
from trafficd.sandbox.socket_filter import Program, installed, is_locked

# struct ucred, unix(7): process, user, group.
_PROCESS_BYTES = 4
_INET = (socket.AF_INET, socket.AF_INET6)
_SIOCGSKNS = 0x894C  # linux/sockios.h: a descriptor of the socket's network namespace


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
        happened = _poll(duplicate)
        return Socket(
            family,
            kind,
            protocol,
            _shown(duplicate.getsockname()),
            peer=_peer(duplicate),
            peer_address=_peer_address(duplicate),
            is_listening=is_listening,
            is_deaf=bool(happened & select.POLLRDHUP),
            is_dead=bool(happened & select.POLLHUP),
            waiting_bytes=0 if is_listening else _waiting_bytes(duplicate),
        )
    if family == socket.AF_NETLINK:
        netlink = NetlinkSocket(
            _groups(duplicate),
            _program(duplicate),
            is_locked(duplicate),
            _network(duplicate),
        )
        return Socket(family, kind, protocol, netlink=netlink)
    return Socket(family, kind, protocol)


def _shown(address: str | bytes) -> str:
    return os.fsdecode(address).replace("\0", "@")


def _peer(duplicate: socket.socket) -> int:
    credentials = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 3 * _PROCESS_BYTES)
    return int.from_bytes(credentials[:_PROCESS_BYTES], sys.byteorder)


def _peer_address(duplicate: socket.socket) -> str:
    try:
        return _shown(duplicate.getpeername())
    except OSError:
        return ""  # connected to nobody, or to one who has no name any more


def _poll(duplicate: socket.socket) -> int:
    """Return which ends of the socket are there no more (poll(2))."""
    asked = select.poll()
    asked.register(duplicate, select.POLLRDHUP)
    return sum(events for _, events in asked.poll(0))


def _waiting_bytes(duplicate: socket.socket) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(duplicate, termios.FIONREAD, bytes(4)))
    return int(count)


def _network(duplicate: socket.socket) -> int | Unread:
    try:
        namespace = fcntl.ioctl(duplicate, _SIOCGSKNS)
    except OSError as error:
        return Unread(error.strerror or str(error))
    try:
        return os.fstat(namespace).st_ino
    finally:
        os.close(namespace)


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


def holders(targets: Iterable[str]) -> dict[str, frozenset[int]]:
    """Return which processes have each of *targets* open: sockets, by what /proc calls them."""
    found: dict[str, set[int]] = {each: set() for each in targets}
    for process in proc.processes():
        directory = proc.PROC / str(process) / "fd"
        for number in proc.numbers(directory):
            target = proc.link(directory / str(number))
            if target in found:
                found[target].add(process)
    return {target: frozenset(each) for target, each in found.items()}


def socket_file(starter: int, address: str) -> SocketFile | Unread:
    """Return the file of a unix socket at *address*, as the process *starter* sees it."""
    place = Path(f"{proc.PROC}/{starter}/root{address}")
    try:
        status = place.stat()
    except OSError as error:
        return Unread(f"{address}: {error.strerror}")
    return SocketFile(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

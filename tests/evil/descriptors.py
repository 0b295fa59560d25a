"""Attempts with the descriptors a half has: other uses, other directions, other peers."""

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.evil.world import EXPORTER, READER, NotOfferedError, World, attempt, call
from trafficd.releases import Release, Totals
from trafficd.wire.frame import encode_frame

# linux/sockios.h, linux/ethtool.h, linux/if_tun.h, asm-generic/ioctls.h
_SIOCGIFNAME, _SIOCGIFCONF, _SIOCGIFADDR, _SIOCGIFHWADDR = 0x8910, 0x8912, 0x8915, 0x8927
_SIOCETHTOOL, _ETHTOOL_GDRVINFO = 0x8946, 3
_TUNSETIFF, _FIOSETOWN = 0x400454CA, 0x8901
_IFREQ_BYTES = 40
_CONNECTING_SECONDS = 2.0
_MSG_FASTOPEN = 0x20000000
_WHAT_IS_SENT = b"from within"


def _each(world: World, act: Callable[[int], str]) -> str:
    """Return the first thing that is learned on any descriptor, else raise the last refusal."""
    refused: OSError | None = None
    for descriptor in world.descriptors():
        try:
            if learned := act(descriptor):
                return f"descriptor {descriptor}: {learned}"
        except OSError as error:
            # Refused by what locks it, or only by the wrong kind of descriptor.
            if refused is None or error.errno == errno.EPERM:
                refused = error
    if refused is not None:
        raise refused
    return ""


def _ask_by_ioctl(descriptor: int, number: int, question: bytes) -> bytes:
    there = ctypes.create_string_buffer(question, max(len(question), _IFREQ_BYTES))
    call("ioctl", descriptor, number, there)
    return there.raw


def name_of_ifindex(world: World, descriptor: int) -> str:
    question = struct.pack("=16si", b"", world.facts["ifindexes"]["plain"])
    return world.found(_ask_by_ioctl(descriptor, _SIOCGIFNAME, question))


def address_of_name(world: World, descriptor: int) -> str:
    question = struct.pack("=16sH", world.facts["name"].encode(), socket.AF_INET)
    return world.found(_ask_by_ioctl(descriptor, _SIOCGIFADDR, question))


def mac_of_name(world: World, descriptor: int) -> str:
    question = struct.pack("=16s", world.facts["name"].encode())
    return world.found(_ask_by_ioctl(descriptor, _SIOCGIFHWADDR, question))


def driver_of_name(world: World, descriptor: int) -> str:
    told = ctypes.create_string_buffer(struct.pack("=I", _ETHTOOL_GDRVINFO), 256)
    question = struct.pack("@16sP", world.facts["name"].encode(), ctypes.addressof(told))
    _ask_by_ioctl(descriptor, _SIOCETHTOOL, question)
    return told.raw[4:36].rstrip(b"\0").decode(errors="replace")


def all_addresses(world: World, descriptor: int) -> str:
    told = ctypes.create_string_buffer(8192)
    _ask_by_ioctl(descriptor, _SIOCGIFCONF, struct.pack("@iP", len(told), ctypes.addressof(told)))
    return world.found(told.raw)


IOCTLS = {
    "name of an ifindex": name_of_ifindex,
    "address of a link": address_of_name,
    "MAC of a link": mac_of_name,
    "driver of a link": driver_of_name,
    "all addresses": all_addresses,
}


def _on_each(ask: Callable[[World, int], str], world: World) -> str:
    return _each(world, partial(ask, world))


for _name, _ask in IOCTLS.items():
    # Addresses are answered by sockets of IP only, and a reader has none.
    _by = (EXPORTER,) if "address" in _name else (READER, EXPORTER)
    attempt(*_by, name=f"open descriptors: {_name} by ioctl")(partial(_on_each, _ask))


@attempt(name="open descriptors: become a tun link")
def _become_tun(world: World) -> str:
    def act(descriptor: int) -> str:
        try:
            _ask_by_ioctl(descriptor, _TUNSETIFF, struct.pack("=16sH", b"evil0", 0x1001))
        except OSError as error:
            # None of them is a tun device, which is found out where asking is allowed.
            if error.errno in (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP):
                return "the call was considered"
            raise
        return "it did"

    return _each(world, act)


@attempt(name="open descriptors: have a signal sent to somebody else")
def _signal_by_owner(world: World) -> str:
    def act(descriptor: int) -> str:
        _ask_by_ioctl(descriptor, _FIOSETOWN, struct.pack("=i", world.facts["parent"]))
        _ask_by_ioctl(descriptor, _FIOSETOWN, struct.pack("=i", 0))
        return "the owner was set"

    return _each(world, act)


@attempt(name="open descriptors: what kind each is, and who holds its other end")
def _peer_credentials(world: World) -> str:
    def act(descriptor: int) -> str:
        told = ctypes.create_string_buffer(12)
        size = ctypes.create_string_buffer(struct.pack("=I", 12), 4)
        call("getsockopt", descriptor, socket.SOL_SOCKET, socket.SO_PEERCRED, told, size)
        process, *_ = struct.unpack("=3i", told.raw)
        return f"process {process}" if process else ""

    return _each(world, act)


@attempt(name="open descriptors: standard input")
def _standard_input(world: World) -> str:
    return world.found(os.pread(0, 4096, 0)) if _may_seek() else world.found(os.read(0, 4096))


def _may_seek() -> bool:
    try:
        os.lseek(0, 0, os.SEEK_SET)
    except OSError:
        return False
    return True


@attempt(name="open descriptors: standard output")
def _standard_output(world: World) -> str:
    os.write(1, b"left on standard output\n")
    return str(world.ask("see output", text="left on standard output"))


@attempt(READER, name="one-way sockets: the reader hears the exporter")
def _hear_exporter(world: World) -> str:
    return _open_for_receiving(world.connection)


def _open_for_receiving(descriptor: int) -> str:
    there = ctypes.create_string_buffer(64)
    try:
        count = call("recv", descriptor, there, len(there), socket.MSG_DONTWAIT)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return "nothing yet, but it would come"
        raise
    return f"{count} bytes" if count else ""


@attempt(EXPORTER, name="one-way sockets: the exporter speaks to the reader")
def _speak_to_reader(world: World) -> str:
    return f"{os.write(world.connection, _WHAT_IS_SENT)} bytes were sent"


@attempt(name="one-way sockets: a half speaks to the agent")
def _speak_to_agent(world: World) -> str:
    return f"{os.write(world.lifeline, _WHAT_IS_SENT)} bytes were sent"


@attempt(name="one-way sockets: a half hands a descriptor to the agent")
def _hand_over(world: World) -> str:
    rights = struct.pack("@Niii", 20, socket.SOL_SOCKET, socket.SCM_RIGHTS, 2)
    _send_message(world.lifeline, b"", rights.ljust(24, b"\0"))
    return "a descriptor was sent"


@attempt(READER, is_deadly=True, name="releases: a link's name for a class, to be published")
def _publish_name(world: World) -> str:
    of_a_link = (world.facts["name"], Totals())
    release = Release(
        at=0,
        started_at=0,
        capacity_bits_per_second=0,
        uplink=Totals(),
        tunnel=Totals(),
        classes=(of_a_link,),
    )
    os.write(world.connection, encode_frame(release))
    return str(world.ask("see page", text=world.facts["name"]))


@attempt(READER, name="open descriptors: send a datagram to another netlink socket")
def _datagram_to_netlink(world: World) -> str:
    address = _netlink_address(world)
    for descriptor in world.netlink_sockets():
        call("sendto", descriptor, _WHAT_IS_SENT, len(_WHAT_IS_SENT), 0, address, len(address))
    return str(world.ask("heard", text=_WHAT_IS_SENT.decode()))


def _netlink_address(world: World) -> bytes:
    return struct.pack("=HHII", socket.AF_NETLINK, 0, world.facts["netlink_port"], 0)


@attempt(READER, name="open descriptors: send a message to another netlink socket")
def _message_to_netlink(world: World) -> str:
    _send_message(world.netlink_sockets()[0], _netlink_address(world))
    return str(world.ask("heard", text=_WHAT_IS_SENT.decode()))


def _send_message(descriptor: int, address: bytes, control: bytes = b"") -> None:
    name, data, rest = (
        ctypes.create_string_buffer(each, len(each)) for each in (address, _WHAT_IS_SENT, control)
    )
    vector = ctypes.create_string_buffer(
        struct.pack("@PN", ctypes.addressof(data), len(_WHAT_IS_SENT)), 16
    )
    # struct msghdr (recvmsg(2)), and struct cmsghdr in it
    message = struct.pack("@PIPNPNi", ctypes.addressof(name) if address else 0, len(address),
                          ctypes.addressof(vector), 1,
                          ctypes.addressof(rest) if control else 0, len(control), 0)  # fmt: skip
    call("sendmsg", descriptor, message, 0)


@attempt(READER, name="open descriptors: connect to another netlink socket")
def _connect_netlink(world: World) -> str:
    descriptor, address = world.netlink_sockets()[0], _netlink_address(world)
    call("connect", descriptor, address, len(address))
    try:
        os.write(descriptor, _WHAT_IS_SENT)
        return str(world.ask("heard", text=_WHAT_IS_SENT.decode()))
    finally:
        kernel = struct.pack("=HHII", socket.AF_NETLINK, 0, 0, 0)
        call("connect", descriptor, kernel, len(kernel))


def inet_address(port: int) -> bytes:
    """Return a struct sockaddr_in on loopback."""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, bytes((127, 0, 0, 1)))


def unix_address(name: bytes) -> bytes:
    """Return a struct sockaddr_un."""
    return struct.pack("=H", socket.AF_UNIX) + name


def _send_on_each(world: World, address: bytes, flags: int) -> str:
    def act(descriptor: int) -> str:
        # These know their peer and look at no address; the other half would end by what it gets.
        if world.is_control and descriptor in (world.connection, world.lifeline):
            return ""
        flagged = flags | socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        data = _WHAT_IS_SENT
        try:
            call("sendto", descriptor, data, len(data), flagged, address, len(address))
        except OSError as error:
            # The wrong kind of socket, found out where an address is allowed at all.
            if error.errno in (errno.EISCONN, errno.EPIPE, errno.ENOTCONN, errno.EINVAL):
                return "an address was considered"
            raise
        return str(world.ask("heard", text=data.decode()))

    return _each(world, act)


@attempt(name="open descriptors: send a datagram to an address of IP")
def _datagram_to_inet(world: World) -> str:
    return _send_on_each(world, inet_address(world.facts["udp_port"]), 0)


@attempt(EXPORTER, name="open descriptors: connect by sending (TCP fast open)")
def _fast_open(world: World) -> str:
    return _send_on_each(world, inet_address(world.facts["tcp_port"]), _MSG_FASTOPEN)


@attempt(name="open descriptors: send a datagram to a socket at a path")
def _datagram_to_path(world: World) -> str:
    return _send_on_each(world, unix_address(world.facts["unix_path"].encode() + b"\0"), 0)


@attempt(name="open descriptors: send a datagram to an abstract socket")
def _datagram_to_abstract(world: World) -> str:
    return _send_on_each(world, unix_address(b"\0" + world.facts["unix_name"].encode()), 0)


@attempt(EXPORTER, is_deadly=True, name="open descriptors: make a client of a listener")
def _client_of_listener(world: World) -> str:
    address = inet_address(world.facts["tcp_port"])

    def act(descriptor: int) -> str:
        # The call itself: in a control run, Python's own shuts nothing down.
        call("shutdown", descriptor, socket.SHUT_RDWR)
        with suppress(BlockingIOError):
            call("connect", descriptor, address, len(address))
        select.select([], [descriptor], [], _CONNECTING_SECONDS)
        os.write(descriptor, _WHAT_IS_SENT)
        return str(world.ask("heard", text=_WHAT_IS_SENT.decode()))

    refused = None
    for listener in _listeners(world):
        try:
            if learned := act(listener):
                return learned
        except OSError as error:
            refused = error
    assert refused is not None
    raise refused


def _listeners(world: World) -> list[int]:
    """Return what fcntl can copy and getsockname says is a socket of IP."""
    found = []
    for descriptor in world.descriptors():
        name = ctypes.create_string_buffer(128)
        size = ctypes.create_string_buffer(struct.pack("=I", 128), 4)
        try:
            call("getsockname", descriptor, name, size)
        except OSError:
            continue
        if name.raw[:2] == struct.pack("=H", socket.AF_INET):
            found.append(descriptor)
    if not found:
        raise NotOfferedError("no listener")
    return found


@attempt(name="open descriptors: splice memory into one")
def _splice(_world: World) -> str:
    return f"{call('vmsplice', 2, None, 0, 0)} bytes, as asked"


@attempt(name="open descriptors: open one again")
def _open_again(_world: World) -> str:
    opened = os.open("/proc/self/fd/2", os.O_RDONLY | os.O_NONBLOCK)
    os.close(opened)
    return "the reading end of standard error"


@attempt(name="open descriptors: the flags of one")
def _flags(_world: World) -> str:
    return f"{fcntl.fcntl(2, fcntl.F_GETFL):#x}"

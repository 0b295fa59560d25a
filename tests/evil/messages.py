"""Netlink messages, as the evil module writes and reads them: by hand, and never waiting."""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator

from tests.evil.world import World, call

# linux/netlink.h and linux/rtnetlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLMSG_ERROR = 2
RTM_GETLINK, RTM_SETLINK, RTM_NEWADDR, RTM_GETADDR = 18, 19, 20, 22
RTM_NEWLINK, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE, RTM_GETSTATS = 16, 26, 30, 34, 94
RTM_NEWLINKPROP = 108
_HEADER = struct.Struct("=IHHII")
_MOST_BYTES = 1 << 17
_MOST_ROUNDS = 50
_buffer = ctypes.create_string_buffer(_MOST_BYTES)


def attribute(kind: int, value: bytes) -> bytes:
    """Return a struct nlattr with *value*, padded."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value.ljust((len(value) + 3) // 4 * 4, b"\0")


def request(kind: int, body: bytes, *, flags: int = 0, sequence: int = 1) -> bytes:
    """Return a request."""
    return _HEADER.pack(16 + len(body), kind, NLM_F_REQUEST | flags, sequence, 0) + body


def link_request(*, ifindex: int = 0, family: int = 0, attributes: bytes = b"") -> bytes:
    """Return a struct ifinfomsg with attributes behind it."""
    return struct.pack("=BxHiII", family, 0, ifindex, 0, 0) + attributes


def everything(descriptor: int) -> list[bytes]:
    """Return the datagrams that are there now."""
    found: list[bytes] = []
    while True:
        try:
            count = call("recv", descriptor, _buffer, _MOST_BYTES, socket.MSG_DONTWAIT)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                continue
            if error.errno == errno.EAGAIN:
                return found
            raise
        if count == 0:
            return found
        found.append(_buffer.raw[:count])


def kind_of(datagram: bytes) -> int:
    """Return the type of its first message."""
    return int(_HEADER.unpack_from(datagram)[1])


def sequence_of(datagram: bytes) -> int:
    """Return which request its first message answers."""
    return int(_HEADER.unpack_from(datagram)[3])


def answers(world: World, descriptor: int, *requests: bytes) -> list[bytes]:
    """Return what comes back on a route socket of the half itself.

    A question that such a socket always answers follows, again and again until nothing else comes:
    it shows that the socket is not deaf, and has the kernel go on with a dump whose first datagram
    was dropped.
    """
    everything(descriptor)
    for each in requests:
        os.write(descriptor, each)
    found = everything(descriptor)
    for _ in range(_MOST_ROUNDS):
        sequence = 0x40000000 + world.next_sequence()
        os.write(descriptor, request(RTM_GETLINK, link_request(ifindex=1), sequence=sequence))
        came = everything(descriptor)
        others = [each for each in came if sequence_of(each) != sequence]
        if len(others) == len(came):
            raise RuntimeError("the socket answers nothing any more, which proves nothing")
        found += others
        if not others:
            break
    return found


def new_answers(descriptor: int, *requests: bytes) -> list[bytes]:
    """Return what comes back on a socket of our own making."""
    found = []
    for each in requests:
        os.write(descriptor, each)
        for _ in range(_MOST_ROUNDS):
            came = everything(descriptor)
            found += came
            if not came:
                break
    return found


def errors(datagrams: list[bytes]) -> Iterator[int]:
    """Yield the error numbers that came back."""
    for each in datagrams:
        if kind_of(each) == NLMSG_ERROR and len(each) >= 20:
            (number,) = struct.unpack_from("=i", each, 16)
            yield -number

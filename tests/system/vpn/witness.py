"""What the kernel says that links moved in their whole lives, heard apart from trafficd."""

import json
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

# linux/rtnetlink.h and linux/if_link.h
_RTMGRP_LINK = 1
_RTM_DELLINK = 17
_IFLA_IFNAME = 3
_IFLA_STATS64 = 23
# asm-generic/socket.h
_SO_RCVBUFFORCE = 33
_IFINFOMSG = struct.Struct("=BxHiII")
_NLMSGHDR_BYTES = 16
UPLINK = "eth0"


@dataclass(frozen=True, slots=True)
class Moved:
    """What a link moved since it was made."""

    name: str
    rx_bytes: int
    tx_bytes: int


@dataclass(slots=True)
class Witness:
    """Hears of every link of this namespace that goes, from now on."""

    gone: dict[int, Moved] = field(default_factory=dict)
    _events: socket.socket = field(
        default_factory=lambda: socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
        )
    )

    def __post_init__(self) -> None:
        self._events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
        self._events.bind((0, _RTMGRP_LINK))
        self._events.setblocking(False)

    def uplink(self) -> Moved:
        """Return what the uplink moved so far."""
        return next(each for each in _living().values() if each.name == UPLINK)

    def tunnels(self) -> dict[int, Moved]:
        """Return what every other link moved so far, or in its life, by ifindex."""
        # A link that goes between the two is heard of, and its last word counts.
        there = {index: each for index, each in _living().items() if each.name != UPLINK}
        with suppress(BlockingIOError):
            while True:
                self.gone |= _finals(self._events.recv(1 << 17))
        return there | self.gone

    def is_alone(self) -> bool:
        """Say whether no link is left but the uplink."""
        return [each.name for each in _living().values()] == [UPLINK]


def _living() -> dict[int, Moved]:
    shown = subprocess.run(
        ["ip", "-s", "-j", "link"], capture_output=True, timeout=60, check=True
    ).stdout
    return {
        each["ifindex"]: Moved(
            each["ifname"], each["stats64"]["rx"]["bytes"], each["stats64"]["tx"]["bytes"]
        )
        for each in json.loads(shown)
        if each["ifname"] != "lo"
    }


def _finals(datagram: bytes) -> Iterator[tuple[int, Moved]]:
    """Yield the links whose end *datagram* tells, with the counters in the very message."""
    # netlink(7): messages, and attributes in them, are padded to four bytes
    while datagram:
        length, kind = struct.unpack_from("=IH", datagram)
        message, datagram = datagram[_NLMSGHDR_BYTES:length], datagram[(length + 3) & ~3 :]
        family, _, ifindex, _, _ = _IFINFOMSG.unpack_from(message)
        if kind != _RTM_DELLINK or family != socket.AF_UNSPEC:
            continue
        attributes = dict(_attributes(message[_IFINFOMSG.size :]))
        # struct rtnl_link_stats64: packets received and sent, then bytes received and sent
        rx_bytes, tx_bytes = struct.unpack_from("=16x2Q", attributes[_IFLA_STATS64])
        name = attributes[_IFLA_IFNAME].rstrip(b"\0").decode()
        yield ifindex, Moved(name, rx_bytes, tx_bytes)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]

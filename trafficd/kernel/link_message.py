"""RTM_NEWLINK and RTM_DELLINK datagrams to values; any bytes at all are survived.

A datagram may be shorter than its message says: the socket filter cuts answers inside IFLA_STATS64,
right behind the byte counters. So the received length counts, and what lies past it is absent.
"""

import struct
from dataclasses import dataclass

from trafficd.links import LinkChanged, LinkCounters, LinkEvent, LinkIdentity, LinkRemoved

# linux/netlink.h and linux/rtnetlink.h
NLMSG_ERROR = 2
NLMSG_DONE = 3
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
NLM_F_REQUEST = 0x001
NLM_F_MULTI = 0x002
NLM_F_DUMP_INTR = 0x010
NLM_F_DUMP = 0x300
HEADER_BYTES = 16

_NLMSGHDR = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_IFINFOMSG = struct.Struct("=BxHiII")  # family, link type, ifindex, flags, change mask
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_ATTRIBUTE_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
# linux/if_link.h, struct rtnl_link_stats64: packets received and sent, then bytes
_BYTES = struct.Struct("=16xQQ")
_IFLA_IFNAME = 3
_IFLA_STATS64 = 23
_AF_UNSPEC = 0
_IFF_SLAVE = 0x800  # linux/if.h


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a datagram held: link events in order, and how many messages made no sense."""

    events: tuple[LinkEvent, ...]
    malformed: int = 0


def decode_link_messages(datagram: bytes | memoryview) -> Decoded:
    """Return the link events in *datagram*, whose names are views of it.

    Messages of other types are left out, and so are those of another family than AF_UNSPEC: a
    bridge sends RTM_DELLINK of AF_BRIDGE when a port leaves it, and the link lives on.
    """
    datagram = memoryview(datagram)
    events: list[LinkEvent] = []
    offset = 0
    while offset < len(datagram):
        if len(datagram) - offset < HEADER_BYTES:
            return Decoded(tuple(events), malformed=1)
        length, message_type, _, _, _ = _NLMSGHDR.unpack_from(datagram, offset)
        if length < HEADER_BYTES:
            return Decoded(tuple(events), malformed=1)
        if message_type in (RTM_NEWLINK, RTM_DELLINK):
            body = datagram[offset + HEADER_BYTES : offset + length]
            if len(body) < _IFINFOMSG.size:
                return Decoded(tuple(events), malformed=1)
            family, link_type, ifindex, flags, _ = _IFINFOMSG.unpack_from(body)
            if family == _AF_UNSPEC:
                name, counters = _name_and_counters(body)
                if not name or ifindex <= 0:
                    return Decoded(tuple(events), malformed=1)
                identity = LinkIdentity(name, link_type, bool(flags & _IFF_SLAVE))
                kind = LinkChanged if message_type == RTM_NEWLINK else LinkRemoved
                events.append(kind(ifindex, identity, counters))
        offset += length + 3 & ~3
    return Decoded(tuple(events))


def _name_and_counters(body: memoryview) -> tuple[memoryview, LinkCounters | None]:
    name = body[:0]
    header, offset, end = _ATTRIBUTE.unpack_from, _IFINFOMSG.size, len(body)
    while offset + 4 <= end:
        length, kind = header(body, offset)
        after = offset + length
        if length < 4:
            break
        kind &= _ATTRIBUTE_TYPE_MASK
        if after > end and (kind != _IFLA_STATS64 or end - offset < 4 + _BYTES.size):
            break
        if kind == _IFLA_IFNAME:
            name = body[offset + 4 : after]
            while name and not name[-1]:
                name = name[:-1]
        elif kind == _IFLA_STATS64 and length >= 4 + _BYTES.size:
            return name, LinkCounters(*_BYTES.unpack_from(body, offset + 4))
        # Some thirty attributes stand before the counters: this loop is most of an event's cost.
        offset = after + 3 & ~3
    return name, None

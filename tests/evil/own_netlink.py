"""Attempts on the two netlink sockets that the reader has, and should have for its links only."""

import ctypes
import errno
import os
import socket
import struct
from functools import partial

from tests.evil.messages import (
    NLM_F_DUMP,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTM_GETSTATS,
    RTM_NEWADDR,
    RTM_NEWLINKPROP,
    RTM_SETLINK,
    answers,
    attribute,
    everything,
    kind_of,
    link_request,
    request,
)
from tests.evil.world import READER, NotOfferedError, World, attempt, call

# linux/if_link.h, linux/if_addr.h, linux/neighbour.h, linux/rtnetlink.h
_IFLA_IFALIAS, _IFLA_EXT_MASK, _IFLA_PROP_LIST, _IFLA_ALT_IFNAME = 20, 29, 52, 53
_IFA_ADDRESS, _IFA_LOCAL, _NDA_DST, _RTA_DST = 1, 2, 1, 1
_EVERY_EXTRA = 0x7F
_NLA_F_NESTED = 0x8000
_IFLA_STATS_LINK_XSTATS, _IFLA_STATS_AF_SPEC = 2, 16
_LAST_MESSAGE_TYPE = 124
# linux/netlink.h, asm-generic/socket.h
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP, _NETLINK_LISTEN_ALL_NSID, _NETLINK_GET_STRICT_CHK = 1, 8, 12
_SO_ATTACH_FILTER, _SO_DETACH_FILTER, _SO_LOCK_FILTER, _SO_ATTACH_BPF = 26, 27, 44, 50
_GROUPS = {"neighbours": 3, "addresses": 5, "routes": 7, "IPv6_addresses": 9, "rules": 8}
_PASS_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0xFFFFFFFF)

# What the reader is for, and what every Ethernet link says of itself (sandbox/socket_filter.py).
_KNOWN_TO_A_READER = ("link's name", "link's MAC")


def _learned(world: World, datagrams: list[bytes]) -> str:
    """Return which secrets came, names of links and their own addresses aside."""
    data = b"\n".join(datagrams)
    return ", ".join(
        name
        for name, value in world.secrets().items()
        if value in data and not name.startswith(_KNOWN_TO_A_READER)
    )


def _ask_both(world: World, *requests: bytes) -> str:
    datagrams = [
        each
        for descriptor in world.netlink_sockets()
        for each in answers(world, descriptor, *requests)
    ]
    return _learned(world, datagrams)


def _dump(kind: int, body: bytes, world: World) -> str:
    return _ask_both(world, request(kind, body, flags=NLM_F_DUMP))


for _name, _kind, _body in (
    ("addresses", RTM_GETADDR, bytes(8)),
    ("neighbours", RTM_GETNEIGH, bytes(12)),
    ("routes", RTM_GETROUTE, bytes(12)),
    ("IPv6_routes", RTM_GETROUTE, bytes((socket.AF_INET6,)).ljust(12, b"\0")),
    ("rules", RTM_GETRULE, bytes((socket.AF_INET,)).ljust(12, b"\0")),
    ("links", RTM_GETLINK, link_request()),
    ("links_with_every_extra", RTM_GETLINK,
     link_request(attributes=attribute(_IFLA_EXT_MASK, struct.pack("=I", _EVERY_EXTRA)))),
):  # fmt: skip
    attempt(READER, name=f"own sockets: dump of {_name}")(partial(_dump, _kind, _body))


def _dump_of_family(family: int, world: World) -> str:
    asked = request(RTM_GETLINK, link_request(family=family), flags=NLM_F_DUMP)
    for descriptor in world.netlink_sockets():
        came = answers(world, descriptor, asked)
        if told := [each for each in came if len(each) > 16 and each[16] == family]:
            return f"{len(told)} datagrams"
    return ""


for _name, _family in (("bridge ports", socket.AF_BRIDGE), ("IPv6 settings", socket.AF_INET6)):
    attempt(READER, name=f"own sockets: dump of {_name}")(partial(_dump_of_family, _family))


@attempt(READER, name="own sockets: every dump and every family that there is")
def _every_dump(world: World) -> str:
    """Ask for all that rtnetlink can list, whatever it is called."""
    found = set()
    for kind in range(RTM_GETLINK, _LAST_MESSAGE_TYPE, 4):
        for family in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6, socket.AF_BRIDGE):
            body = bytes((family,)).ljust(16, b"\0")
            if learned := _ask_both(world, request(kind, body, flags=NLM_F_DUMP)):
                found.add(learned)
    return "; ".join(sorted(found))


def _link(name: str, world: World) -> str:
    if name not in world.facts["ifindexes"]:
        raise NotOfferedError(f"no {name} link could be made")
    extras = attribute(_IFLA_EXT_MASK, struct.pack("=I", _EVERY_EXTRA))
    body = link_request(ifindex=world.facts["ifindexes"][name], attributes=extras)
    return _ask_both(world, request(RTM_GETLINK, body))


attempt(READER, name="own sockets: alias and altname by ifindex")(partial(_link, "plain"))
attempt(READER, name="own sockets: remote of a VXLAN by ifindex")(partial(_link, "vxlan"))


@attempt(READER, name="own sockets: alias by altname")
def _alias_by_altname(world: World) -> str:
    name = world.facts["altname"].encode() + b"\0"
    body = link_request(attributes=attribute(_IFLA_ALT_IFNAME, name))
    return _ask_both(world, request(RTM_GETLINK, body))


@attempt(READER, name="own sockets: more than counters in statistics")
def _more_statistics(world: World) -> str:
    datagrams = []
    for mask in (_IFLA_STATS_LINK_XSTATS, _IFLA_STATS_AF_SPEC, 0x1F, 0xFF):
        asked = request(RTM_GETSTATS, struct.pack("=BBHII", 0, 0, 0, 0, mask), flags=NLM_F_DUMP)
        for descriptor in world.netlink_sockets():
            datagrams += answers(world, descriptor, asked)
    others = [each for each in datagrams if len(each) >= 28 and each[24:28] != b"\1\0\0\0"]
    told = [each for each in others if kind_of(each) == RTM_GETSTATS - 2]
    return f"{len(told)} messages with other statistics" if told else ""


def _differs(present: bytes, absent: bytes, world: World) -> str:
    """Return how the answers to two questions differ, of which one has a yes for an answer."""
    told = []
    for descriptor in world.netlink_sockets():
        shapes = [
            [(kind_of(each), len(each)) for each in answers(world, descriptor, asked)]
            for asked in (present, absent)
        ]
        if shapes[0] != shapes[1]:
            told.append(f"present: {shapes[0]}, absent: {shapes[1]}")
    return "; ".join(told)


@attempt(READER, name="own sockets: whether somebody is a neighbour")
def _is_a_neighbour(world: World) -> str:
    def asked(name: str) -> bytes:
        where = struct.pack("=BxxxiHBB", socket.AF_INET, world.facts["ifindexes"]["plain"], 0, 0, 0)
        address = socket.inet_aton(world.facts[name])
        return request(RTM_GETNEIGH, where + attribute(_NDA_DST, address))

    return _differs(asked("neighbour"), asked("nobody"), world)


@attempt(READER, name="own sockets: whether an IPv6 address is ours")
def _is_our_address(world: World) -> str:
    def asked(name: str) -> bytes:
        address = socket.inet_pton(socket.AF_INET6, world.facts[name])
        return request(RTM_GETADDR, struct.pack("=BBBBI", socket.AF_INET6, 128, 0, 0, 0)
                       + attribute(_IFA_ADDRESS, address))  # fmt: skip

    return _differs(asked("address6"), asked("nobody6"), world)


@attempt(READER, name="own sockets: whether there is a route")
def _is_routed(world: World) -> str:
    def asked(name: str) -> bytes:
        where = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
        return request(
            RTM_GETROUTE, where + attribute(_RTA_DST, socket.inet_aton(world.facts[name]))
        )

    return _differs(asked("routed"), asked("unrouted"), world)


def _provoked(world: World) -> str:
    """Have the test change addresses, neighbours, routes, an alias; then a link, which passes."""
    for descriptor in world.netlink_sockets():
        everything(descriptor)
    world.ask("provoke")
    return _learned(
        world, [each for descriptor in world.netlink_sockets() for each in everything(descriptor)]
    )


@attempt(READER, name="own sockets: an alias from the event that sets it")
def _alias_event(world: World) -> str:
    return _provoked(world)


def _join(group: int, world: World) -> str:
    for descriptor in world.netlink_sockets():
        _set_option(descriptor, _SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    return _provoked(world)


for _name, _group in _GROUPS.items():
    attempt(READER, name=f"own sockets: join the group of {_name}")(partial(_join, _group))


@attempt(READER, name="own sockets: bind to every group")
def _bind_to_every_group(world: World) -> str:
    every = struct.pack("=HHII", socket.AF_NETLINK, 0, 0, 0xFFFFFFFF)
    refused = None
    for descriptor in world.netlink_sockets():
        try:
            call("bind", descriptor, every, len(every))
        except OSError as error:
            refused = error
    learned = _provoked(world)
    if refused is not None and not learned:
        raise refused
    return learned


@attempt(READER, name="own sockets: hear every network namespace")
def _hear_every_namespace(world: World) -> str:
    for descriptor in world.netlink_sockets():
        _set_option(descriptor, _SOL_NETLINK, _NETLINK_LISTEN_ALL_NSID, 1)
    return "it was let to"


@attempt(READER, name="own sockets: have the kernel search by strict requests")
def _strict(world: World) -> str:
    for descriptor in world.netlink_sockets():
        _set_option(descriptor, _SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
    for descriptor in world.netlink_sockets():
        _set_option(descriptor, _SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 0)
    return "it was let to"


def _then_addresses(world: World, refused: OSError | None) -> str:
    """Return what addresses are seen now, else raise what was said instead."""
    learned = _dump(RTM_GETADDR, bytes(8), world)
    if refused is not None and not learned:
        raise refused
    return learned


def _attach(descriptor: int, code: bytes) -> None:
    there = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(there))
    call("setsockopt", descriptor, socket.SOL_SOCKET, _SO_ATTACH_FILTER, program, len(program))


@attempt(READER, name="own sockets: attach a filter that lets all in")
def _attach_filter(world: World) -> str:
    refused = None
    for descriptor in world.netlink_sockets():
        try:
            _attach(descriptor, _PASS_ALL)
        except OSError as error:
            refused = error
    return _then_addresses(world, refused)


@attempt(READER, name="own sockets: detach the filter")
def _detach_filter(world: World) -> str:
    refused = None
    for descriptor in world.netlink_sockets():
        try:
            _attach(descriptor, _PASS_ALL)
            _set_option(descriptor, socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        except OSError as error:
            refused = error
            try:
                _set_option(descriptor, socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            except OSError as again:
                refused = again
    return _then_addresses(world, refused)


@attempt(READER, name="own sockets: unlock the filter")
def _unlock_filter(world: World) -> str:
    for descriptor in world.netlink_sockets():
        _set_option(descriptor, socket.SOL_SOCKET, _SO_LOCK_FILTER, 0)
    return "it was let to"


@attempt(READER, name="own sockets: attach a filter of extended BPF")
def _attach_extended(world: World) -> str:
    try:
        _set_option(world.netlink_sockets()[0], socket.SOL_SOCKET, _SO_ATTACH_BPF, 0)
    except OSError as error:
        # Descriptor 0 is no program, which is found out where attaching is allowed.
        if error.errno in (errno.EINVAL, errno.EBADF):
            return "the call was considered"
        raise
    return "it was let to"


@attempt(READER, name="own sockets: set an alias, which stays behind")
def _leave_an_alias(world: World) -> str:
    ifindex = world.facts["ifindexes"]["spare"]
    body = link_request(ifindex=ifindex, attributes=attribute(_IFLA_IFALIAS, b"left-behind"))
    _write_to_both(world, request(RTM_SETLINK, body))
    return str(world.ask("see link", ifindex=ifindex, text="left-behind"))


@attempt(READER, name="own sockets: set an altname, which stays behind")
def _leave_an_altname(world: World) -> str:
    ifindex = world.facts["ifindexes"]["spare"]
    names = attribute(_IFLA_ALT_IFNAME, b"left-behind-too\0")
    body = link_request(
        ifindex=ifindex, attributes=attribute(_IFLA_PROP_LIST | _NLA_F_NESTED, names)
    )
    # NLM_F_CREATE, NLM_F_APPEND and NLM_F_EXCL, as `ip link property add` sends.
    _write_to_both(world, request(RTM_NEWLINKPROP, body, flags=0x0E00))
    return str(world.ask("see link", ifindex=ifindex, text="left-behind-too"))


@attempt(READER, name="own sockets: add an address, which stays behind")
def _leave_an_address(world: World) -> str:
    ifindex = world.facts["ifindexes"]["spare"]
    address = socket.inet_aton("192.0.2.200")
    body = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, ifindex)
    body += attribute(_IFA_LOCAL, address) + attribute(_IFA_ADDRESS, address)
    _write_to_both(world, request(RTM_NEWADDR, body, flags=0x0600))
    return str(world.ask("see link", ifindex=ifindex, text="192.0.2.200"))


def _write_to_both(world: World, message: bytes) -> None:
    for descriptor in world.netlink_sockets():
        os.write(descriptor, message)
        everything(descriptor)


def _set_option(descriptor: int, level: int, option: int, value: int) -> None:
    number = struct.pack("=i", value)
    call("setsockopt", descriptor, level, option, number, len(number))

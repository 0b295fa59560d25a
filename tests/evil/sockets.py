"""Attempts with sockets of a half's own making."""

import os
import socket
import struct
from collections.abc import Callable
from contextlib import closing
from errno import (
    EAFNOSUPPORT,
    EINVAL,
    ENOENT,
    EPFNOSUPPORT,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
)
from functools import partial

from tests.evil.descriptors import IOCTLS
from tests.evil.messages import (
    NLM_F_DUMP,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_GETRULE,
    attribute,
    errors,
    everything,
    kind_of,
    link_request,
    new_answers,
    request,
)
from tests.evil.world import NotOfferedError, World, attempt

# linux/netlink.h
_ROUTE, _SOCK_DIAG, _XFRM, _AUDIT, _NETFILTER, _UEVENT, _GENERIC = 0, 4, 6, 9, 12, 15, 16
# linux/sock_diag.h, linux/inet_diag.h, linux/unix_diag.h, linux/netlink_diag.h
_SOCK_DIAG_BY_FAMILY = 20
# linux/netfilter/nfnetlink_conntrack.h, linux/xfrm.h, linux/genetlink.h, linux/wireguard.h
_CONNTRACK_GET, _XFRM_GETSA, _XFRM_GETPOLICY = (1 << 8) | 1, 18, 21
_GENL_CONTROL, _CTRL_GETFAMILY, _CTRL_FAMILY_NAME = 16, 3, 2
_CTRL_FAMILY_ID, _WG_GET_DEVICE, _WGDEVICE_IFINDEX = 1, 0, 1
_AUDIT_GET = 1000
_NO_FAMILY = (EAFNOSUPPORT, EPFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EINVAL)
_FIRST_FAMILIES = range(46)
_ETH_P_ALL = 0x0300
_WHAT_IS_SENT = b"from within"


def _netlink(protocol: int) -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)


def _dump(protocol: int, kind: int, body: bytes, world: World) -> str:
    with _netlink(protocol) as opened:
        came = new_answers(opened.fileno(), request(kind, body, flags=NLM_F_DUMP))
    learned = world.found(b"\n".join(came))
    if not learned and kind == _XFRM_GETSA and "state" not in world.facts["could"]:
        raise NotOfferedError("no IPsec state could be made")
    return learned


def _diag(family: int, protocol: int) -> bytes:
    # struct inet_diag_req_v2: every state, no socket in particular.
    return struct.pack("=BBBxI48x", family, protocol, 0, 0xFFFFFFFF)


for _name, _protocol, _kind, _body in (
    ("addresses", _ROUTE, RTM_GETADDR, bytes(8)),
    ("neighbours", _ROUTE, RTM_GETNEIGH, bytes(12)),
    ("routes", _ROUTE, RTM_GETROUTE, bytes(12)),
    ("rules", _ROUTE, RTM_GETRULE, bytes(12)),
    ("links", _ROUTE, RTM_GETLINK, link_request()),
    ("TCP connections", _SOCK_DIAG, _SOCK_DIAG_BY_FAMILY,
     _diag(socket.AF_INET, socket.IPPROTO_TCP)),
    ("UDP sockets", _SOCK_DIAG, _SOCK_DIAG_BY_FAMILY,
     _diag(socket.AF_INET, socket.IPPROTO_UDP)),
    ("Unix sockets", _SOCK_DIAG, _SOCK_DIAG_BY_FAMILY,
     struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, 1, 0, 0)),
    ("connections that are tracked", _NETFILTER, _CONNTRACK_GET, bytes(4)),
    ("IPsec states", _XFRM, _XFRM_GETSA, b""),
    ("IPsec policies", _XFRM, _XFRM_GETPOLICY, b""),
):  # fmt: skip
    attempt(name=f"new sockets: dump of {_name}", absent=_NO_FAMILY)(
        partial(_dump, _protocol, _kind, _body)
    )


def _count(protocol: int, kind: int, body: bytes, answer: int, world: World) -> str:
    """Ask for what has no planted secret in it, and count."""
    with _netlink(protocol) as opened:
        came = new_answers(opened.fileno(), request(kind, body, flags=NLM_F_DUMP))
    if ENOENT in errors(came):
        raise NotOfferedError("the kernel was built without it")
    found = [each for each in came if kind_of(each) == answer]
    return f"{len(found)} datagrams" if found else ""


for _name, _whose, _rest in (
    ("netlink sockets", socket.AF_NETLINK, struct.pack("=BHIIII", 0xFF, 0, 0, 3, 0, 0)),
    ("packet sockets", socket.AF_PACKET, struct.pack("=BHIIII", 0, 0, 0, 1, 0, 0)),
):
    attempt(name=f"new sockets: dump of {_name}", absent=_NO_FAMILY)(
        partial(_count, _SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, bytes((_whose,)) + _rest, 20)
    )
attempt(name="new sockets: generic netlink families", absent=_NO_FAMILY)(
    partial(_count, _GENERIC, _GENL_CONTROL, struct.pack("=BBH", _CTRL_GETFAMILY, 1, 0), 16)
)


@attempt(name="new sockets: peers of a WireGuard link", absent=_NO_FAMILY)
def _wireguard(world: World) -> str:
    name = attribute(_CTRL_FAMILY_NAME, b"wireguard\0")
    asked = request(_GENL_CONTROL, struct.pack("=BBH", _CTRL_GETFAMILY, 1, 0) + name)
    with _netlink(_GENERIC) as opened:
        came = new_answers(opened.fileno(), asked)
        if ENOENT in errors(came):
            raise NotOfferedError("this kernel has no WireGuard")
        if "wireguard" not in world.facts["could"]:
            raise NotOfferedError("no WireGuard link could be made")
        place = came[0].index(struct.pack("=HH", 6, _CTRL_FAMILY_ID))
        (family,) = struct.unpack_from("=H", came[0], place + 4)
        ifindex = struct.pack("=I", world.facts["ifindexes"]["wireguard"])
        body = struct.pack("=BBH", _WG_GET_DEVICE, 1, 0) + attribute(_WGDEVICE_IFINDEX, ifindex)
        told = new_answers(opened.fileno(), request(family, body, flags=NLM_F_DUMP))
    found = [each for each in told if kind_of(each) == family]
    return f"{len(found)} datagrams about it" if found else ""


def _heard(group: int, protocol: int, world: World) -> str:
    with _netlink(protocol) as opened:
        opened.bind((0, group))
        world.ask("provoke")
        return world.found(b"\n".join(everything(opened.fileno())))


# RTMGRP_NEIGH, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE and so on: all 32.
attempt(name="new sockets: events of addresses, neighbours and routes")(
    partial(_heard, 0xFFFFFFFF, _ROUTE)
)
attempt(name="new sockets: events of devices", absent=_NO_FAMILY)(partial(_heard, 1, _UEVENT))


@attempt(name="new sockets: the audit log", absent=_NO_FAMILY)
def _audit(world: World) -> str:
    with _netlink(_AUDIT) as opened:
        return f"{len(new_answers(opened.fileno(), request(_AUDIT_GET, b'')))} answers"


def _ioctl(ask: Callable[[World, int], str], world: World) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        return ask(world, opened.fileno())


for _name, _ask in IOCTLS.items():
    attempt(name=f"new sockets: {_name} by ioctl")(partial(_ioctl, _ask))


def _listen(family: int, kind: int, protocol: int, world: World) -> str:
    with socket.socket(family, kind, protocol) as opened:
        world.ask("send a packet")
        return world.found(b"\n".join(everything(opened.fileno())))


attempt(name="new sockets: packets by a packet socket")(
    partial(_listen, socket.AF_PACKET, socket.SOCK_RAW, _ETH_P_ALL)
)
attempt(name="new sockets: packets by a raw socket")(
    partial(_listen, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
)


@attempt(name="new sockets: connect by TCP")
def _connect_tcp(world: World) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as opened:
        opened.connect(("127.0.0.1", world.facts["tcp_port"]))
        opened.send(_WHAT_IS_SENT)
        return str(world.ask("heard", text=_WHAT_IS_SENT.decode()))


@attempt(name="new sockets: a datagram by UDP")
def _send_udp(world: World) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.sendto(_WHAT_IS_SENT, ("127.0.0.1", world.facts["udp_port"]))
        return str(world.ask("heard", text=_WHAT_IS_SENT.decode()))


@attempt(name="new sockets: a datagram by IPv6")
def _send_udp6(world: World) -> str:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
        opened.sendto(_WHAT_IS_SENT, ("::ffff:127.0.0.1", world.facts["udp_port"]))
        return str(world.ask("heard", text=_WHAT_IS_SENT.decode()))


@attempt(name="new sockets: listen by TCP")
def _listen_tcp(world: World) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen()
        return f"port {opened.getsockname()[1]}"


def _send_unix(key: str, prefix: str, world: World) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.sendto(_WHAT_IS_SENT, prefix + world.facts[key])
        return str(world.ask("heard", text=_WHAT_IS_SENT.decode()))


attempt(name="new sockets: a datagram to a socket at a path")(partial(_send_unix, "unix_path", ""))
attempt(name="new sockets: a datagram to an abstract socket")(
    partial(_send_unix, "unix_name", "\0")
)


@attempt(name="new sockets: a pair of them")
def _pair(world: World) -> str:
    here, there = socket.socketpair()
    with here, there:
        return f"descriptors {here.fileno()} and {there.fileno()}"


@attempt(name="new sockets: one at a path, a trace")
def _bind_path(world: World) -> str:
    path = f"{world.facts['directory']}/bound"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind(path)
    os.unlink(path)  # noqa: PTH108  # nothing of pathlib was tried out before the lock
    return "it was made"


def _family(family: int, kind: int, world: World) -> str:
    with socket.socket(family, kind) as opened:
        return f"descriptor {opened.fileno()}"


# linux/socket.h: Python does not know all of them everywhere.
for _name, _number, _kind in (
    ("AF_VSOCK", 40, socket.SOCK_STREAM),
    ("AF_ALG", 38, socket.SOCK_SEQPACKET),
):
    attempt(name=f"new sockets: one of {_name}", absent=_NO_FAMILY)(
        partial(_family, _number, _kind)
    )


@attempt(name="new sockets: of any family and kind that there is")
def _any_family(world: World) -> str:
    opened = []
    refused: OSError | None = None
    # Where it is let to, asking for a family has its module loaded.
    for family in (socket.AF_INET,) if world.is_control else _FIRST_FAMILIES:
        for kind in (1, 2, 3, 4, 5):
            try:
                with closing(socket.socket(family, kind)):
                    opened.append(f"{family}/{kind}")
            except OSError as error:
                refused = error
    if not opened and refused is not None:
        raise refused
    return " ".join(opened)

"""Every link of a namespace with all that the kernel tells: for an operator at the terminal.

The daemon never calls this: it asks for what the reader must not see.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from trafficd.errors import TrafficdError
from trafficd.kernel.sockets import open_unfiltered_socket
from trafficd.links import LinkIdentity
from trafficd.sandbox.socket_filter import IP_ADDRESSED_TYPES, KINDS

_IFF_SLAVE = 0x800  # linux/if.h


@dataclass(frozen=True, slots=True)
class FoundLink:
    """One link; *master*, *lower* and *peer* are ifindexes in the same namespace, 0 for none.

    *secret* is what its messages hold that the reader must not see, in words, so that it is counted
    from dumps only; empty if its events reach the reader.
    """

    namespace: str
    ifindex: int
    identity: LinkIdentity
    kind: str
    state: str
    master: int
    lower: int
    peer: int
    rx_bytes: int
    tx_bytes: int
    secret: str


def find_links(namespace: str) -> list[FoundLink]:
    """Return the links of *namespace*, by its name under /run/netns or ``host``.

    Raises: TrafficdError if the namespace cannot be entered or the kernel refuses.
    """
    # Declared anew because asyncio, inside pyroute2, wants a datagram socket (netlink(7)).
    opened = socket.socket(
        socket.AF_NETLINK,
        socket.SOCK_DGRAM,
        socket.NETLINK_ROUTE,
        fileno=open_unfiltered_socket(namespace).detach(),
    )
    try:
        with opened, IPRoute(use_socket=opened) as kernel:
            return [_found(namespace, message) for message in _dump(kernel)]
    except NetlinkError as error:
        reason = os.strerror(error.code)
        raise TrafficdError(
            f"namespace {namespace}: its links cannot be listed: {reason}"
        ) from error


def _dump(kernel: Any) -> Iterator[Any]:
    yield from kernel.get_links()


def _found(namespace: str, message: Any) -> FoundLink:
    stats = message.get("IFLA_STATS64") or {}
    info = message.get("IFLA_LINKINFO")
    kind = (info.get("IFLA_INFO_KIND") if info else None) or ""
    is_elsewhere = message.get("IFLA_LINK_NETNSID") is not None
    below = 0 if is_elsewhere else message.get("IFLA_LINK") or 0
    # A veth's IFLA_LINK is its other end, and that of a tunnel without a device is itself.
    below = 0 if below == message["index"] else below
    return FoundLink(
        namespace=namespace,
        ifindex=message["index"],
        identity=LinkIdentity(
            (message.get("IFLA_IFNAME") or "").encode(),
            message["ifi_type"],
            bool(message["flags"] & _IFF_SLAVE),
        ),
        kind=kind,
        state=(message.get("IFLA_OPERSTATE") or "").lower(),
        master=message.get("IFLA_MASTER") or 0,
        lower=0 if kind == "veth" else below,
        peer=below if kind == "veth" else 0,
        rx_bytes=stats.get("rx_bytes", 0),
        tx_bytes=stats.get("tx_bytes", 0),
        secret=_secret(message, info, kind),
    )


def _secret(message: Any, info: Any, kind: str) -> str:
    """Return why the filter of link events does not let this link's pass (see EVENTS there)."""
    data = info.get("IFLA_INFO_DATA") if info else None
    if message.get("IFLA_IFALIAS"):
        return "has an alias"
    if message.get("IFLA_PROP_LIST"):
        return "has an alternative name"
    if message["ifi_type"] in IP_ADDRESSED_TYPES:
        return "carries an IP address as its hardware address"
    if info and info.get("IFLA_INFO_SLAVE_DATA") is not None:
        return "is a port, whose settings name the other end"
    if kind == "bridge" and data and data.get("IFLA_BR_ROOT_PORT"):
        return "is a bridge, whose settings name another as the root"
    if data is not None and kind not in (*KINDS, "bridge"):
        return f"is a {kind} link, whose settings can name a peer"
    return ""

"""A VPN server in a network namespace: its kernel forwards between tunnel links and the uplink.

A client's packet comes in on its tunnel link, the kernel routes it, and it goes out on the uplink;
an answer takes the way back. The uplink carries the outer packets of the tunnels as well, as it
does on a real server. Nothing leaves the namespace: the other end of every link is this process.
"""

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from trafficd.demo import tun
from trafficd.demo.namespaces import enter_network_namespace
from trafficd.demo.packets import HEADER_BYTES, OVERHEAD_BYTES, udp_packet
from trafficd.demo.traffic import Flow
from trafficd.demo.tun import Tun
from trafficd.errors import TrafficdError
from trafficd.releases import Totals

UPLINK = "eth0"

# Documentation addresses, RFC 5737: TEST-NET-2 is the internet, TEST-NET-1 the clients.
_SERVER = "198.51.100.1"
_INTERNET = "198.51.100.2"
_INTERNET_NETMASK = "255.255.255.0"
_GATEWAY = "192.0.2.1"
_CLIENTS = [f"192.0.2.{number}" for number in range(2, 255)]
_PORT = 4500  # ESP in UDP, RFC 3948; any would do


@dataclass(frozen=True, slots=True)
class _Client:
    """A tunnel link, and the two packets that travel over it."""

    link: Tun
    address: str
    question: bytes
    answer: bytes


class Laboratory:
    """One node's links, for as long as the process lives."""

    def __init__(self) -> None:
        """Enter the namespace and set the uplink up.

        Raises: TrafficdError with what has to be allowed or loaded first.
        """
        is_root = os.geteuid() == 0
        try:
            enter_network_namespace()
        except OSError as error:
            mend = "it needs CAP_SYS_ADMIN" if is_root else "run it as root"
            raise TrafficdError(
                f"network namespaces are not allowed here ({error.strerror}): {mend}"
            ) from error
        self._ioctls = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._uplink = Tun(
                UPLINK, self._ioctls, here=_SERVER, behind=_INTERNET, netmask=_INTERNET_NETMASK
            )
        except OSError as error:
            raise TrafficdError(_why_no_tun(error)) from error
        try:
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
        except OSError as error:
            raise TrafficdError(f"forwarding cannot be switched on: {error.strerror}") from error
        # Nobody reads it: the kernel takes the outer packets and drops what does not fit.
        self._outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._outer.bind((_SERVER, _PORT))
        self._clients: dict[str, _Client] = {}
        self._gone = Totals()

    @property
    def flow(self) -> Flow:
        """What the links have moved so far."""
        links = [client.link for client in self._clients.values()]
        return Flow(
            Totals(self._uplink.rx_bytes, self._uplink.tx_bytes),
            Totals(
                self._gone.rx_bytes + sum(link.rx_bytes for link in links),
                self._gone.tx_bytes + sum(link.tx_bytes for link in links),
            ),
        )

    def open(self, link: str, packet_bytes: int) -> None:
        """Set a tunnel link up, with a client behind it."""
        taken = {client.address for client in self._clients.values()}
        address = next(each for each in _CLIENTS if each not in taken)
        self._clients[link] = _Client(
            Tun(link, self._ioctls, here=_GATEWAY, behind=address),
            address,
            udp_packet(address, _INTERNET, port=_PORT, size=packet_bytes),
            udp_packet(_INTERNET, address, port=_PORT, size=packet_bytes),
        )

    def move(self, link: str, received: int, transmitted: int) -> None:
        """Let packets come from the client behind *link* and go back to it."""
        client = self._clients[link]
        outer_bytes = len(client.question) + OVERHEAD_BYTES
        outer = udp_packet(_INTERNET, _SERVER, port=_PORT, size=outer_bytes)
        for _ in range(received):
            self._uplink.receive(outer)
            client.link.receive(client.question)
        for _ in range(transmitted):
            self._uplink.receive(client.answer)
            self._outer.sendto(bytes(outer_bytes - HEADER_BYTES), (_INTERNET, _PORT))
        client.link.drain()
        self._uplink.drain()

    def close(self, link: str) -> None:
        """Take a tunnel link away."""
        gone = self._clients.pop(link).link
        gone.close()
        self._gone = Totals(
            self._gone.rx_bytes + gone.rx_bytes, self._gone.tx_bytes + gone.tx_bytes
        )


def _why_no_tun(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return f"{tun.DEVICE} is missing: modprobe tun"
        case errno.ENODEV | errno.ENXIO:
            return f"{tun.DEVICE} has no driver: modprobe tun"
        case errno.EACCES:
            return f"{tun.DEVICE} may not be opened: run it as root, or chmod 666 {tun.DEVICE}"
        case _:
            return f"tun links are not allowed here: {error.strerror}"

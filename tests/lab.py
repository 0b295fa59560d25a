"""A laboratory on a real kernel: links, the bytes they move, and namespaces under watch."""

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from trafficd.accounting.classify import Classifier
from trafficd.accounting.ledger import Ledger
from trafficd.accounting.table import LinkTable
from trafficd.kernel.dump import Dump, LinkReader
from trafficd.kernel.events import EventSocket
from trafficd.kernel.sockets import open_link_sockets
from trafficd.links import LinkChanged
from trafficd.reader.faults import FaultCounter
from trafficd.reader.watch import NamespaceWatch
from trafficd.releases import Totals
from trafficd.rules import BUILT_IN_RULES, LinkRule, Role

# linux/sched.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
# linux/if_tun.h and linux/sockios.h
_TUNSETIFF = 0x400454CA
_TUNSETIFINDEX = 0x400454DA
_IFF_TUN_NO_PI = 0x1001
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_ETH_P_IP = 0x0800
_IPV4_HEADER = struct.Struct("!BBHHHBBH4s4s")
_LARGEST_PACKET_BYTES = 65535
# linux/netlink.h and linux/rtnetlink.h
_NLMSG_DONE = 3
_RTM_GETSTATS = 94
_RTMGRP_LINK = 1
_NLM_F_REQUEST_DUMP = 0x301

_libc = ctypes.CDLL(None, use_errno=True)


def namespaces_are_missing() -> str:
    """Return why no network namespace can be made here, or nothing.

    Without root this process enters a user namespace, with a network and a /run of its own.
    """
    try:
        if os.geteuid() == 0:
            _try("unshare", "--net", "--mount", "true")
            return ""
        tmpfs_on_run = ("mount", "-t", "tmpfs", "tmpfs", "/run")
        # In a child first, because a process that is refused half-way cannot go back.
        _try("unshare", "--user", "--map-root-user", "--net", "--mount", *tmpfs_on_run)
        user, group = os.geteuid(), os.getegid()
        _call(_libc.unshare, _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWNS)
        # user_namespaces(7)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        _try(*tmpfs_on_run)
        _try("ip", "link", "set", "lo", "up")
    except OSError as error:
        return f"no network namespaces: {error}"
    return ""


@contextlib.contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Put this thread into *namespace*; what it opens there stays there."""
    with (
        Path("/proc/thread-self/ns/net").open() as home,
        Path("/run/netns", namespace).open() as there,
    ):
        _call(_libc.setns, there.fileno(), _CLONE_NEWNET)
        try:
            yield
        finally:
            _call(_libc.setns, home.fileno(), _CLONE_NEWNET)


class TunSession:
    """A tun link that lives until it is closed, and what a program at its other end moved.

    *rx_bytes* and *tx_bytes* are the lengths of its writes and reads, the truth a counter must
    arrive at.
    """

    def __init__(
        self, namespace: str, name: str | bytes, *, ifindex: int = 0, rx_bytes: int = 0
    ) -> None:
        self.name = os.fsencode(name)
        self.rx_bytes = 0
        self.tx_bytes = 0
        with entered(namespace):
            try:
                self._descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                pytest.skip(f"no tun links: {error}")
            if ifindex:
                fcntl.ioctl(self._descriptor, _TUNSETIFINDEX, struct.pack("=I", ifindex))
            request = struct.pack("=16sH22x", self.name, _IFF_TUN_NO_PI)
            fcntl.ioctl(self._descriptor, _TUNSETIFF, request)
        self.bring_up(namespace)
        self.receive(rx_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def bring_up(self, namespace: str) -> None:
        """Set the link up, in the *namespace* where it is now."""
        with entered(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            asked = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("=16s24x", self.name))
            (flags,) = struct.unpack_from("=H", asked, 16)
            up = struct.pack("=16sH22x", self.name, flags | _IFF_UP)
            fcntl.ioctl(control, _SIOCSIFFLAGS, up)

    def receive(self, count: int) -> None:
        """Let the link receive *count* bytes, in packets as large as can be.

        Raises: ValueError if so few are no packet.
        """
        if 0 < count < _IPV4_HEADER.size:
            raise ValueError(f"{count} bytes: no packet is shorter than its header")
        while count:
            size = min(count, _LARGEST_PACKET_BYTES)
            if 0 < count - size < _IPV4_HEADER.size:
                size -= _IPV4_HEADER.size
            self.rx_bytes += os.write(self._descriptor, _packet(size))
            count -= size

    def transmit(self, namespace: str, size: int) -> None:
        """Send one packet of *size* bytes over the link, and read it at the other end."""
        packet = _packet(size)
        with (
            entered(namespace),
            socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP)) as sender,
        ):
            sender.sendto(packet, (os.fsdecode(self.name), _ETH_P_IP))
        found = b""
        # What else the kernel sends over the link counts as well.
        while found != packet:
            found = os.read(self._descriptor, _LARGEST_PACKET_BYTES)
            self.tx_bytes += len(found)

    def close(self) -> None:
        """Close the session; its link is gone when this returns."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def open_and_close_sessions(
    namespace: str, sizes: Sequence[int], *, prefix: str = "tun-brief"
) -> None:
    """Let a session for each of *sizes* receive so many bytes and end after a few milliseconds."""

    def live(number: int, size: int) -> None:
        TunSession(namespace, f"{prefix}{number}", rx_bytes=size).close()

    # An end takes the kernel some 30 ms, but it works on many at the same time.
    with ThreadPoolExecutor(16) as ends:
        for _ in ends.map(live, range(len(sizes)), sizes):
            pass


def queue_link_events(namespace: str, count: int) -> None:
    """Let the kernel say *count* times that something changed on a new link without bytes."""
    change = "link set dev noise mtu {}".format
    lines = ["link add noise type bridge", *(change(1000 + each % 2) for each in range(count - 1))]
    subprocess.run(
        ["ip", "-n", namespace, "-batch", "-"],
        input="\n".join(lines),
        text=True,
        timeout=60,
        check=True,
    )


def add_link(namespace: str, *arguments: str) -> None:
    """Add a link; the test is skipped on a kernel that was built without its kind."""
    try:
        _try("ip", "-n", namespace, "link", "add", *arguments)
    except OSError as error:
        if "Unknown device type" in str(error) or "Operation not supported" in str(error):
            pytest.skip(f"no {arguments[arguments.index('type') + 1]} links in this kernel")
        raise


def send_frames(namespace: str, name: str, *, count: int, size: int) -> None:
    """Hand packets of *size* bytes to a link for sending, to everybody at its other end."""
    with (
        entered(namespace),
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP)) as sender,
    ):
        for _ in range(count):
            # A tunnel without a peer refuses them, and has counters all the same.
            with contextlib.suppress(OSError):
                sender.sendto(_packet(size), (name, _ETH_P_IP, 0, 0, b"\xff" * 6))


class MeddledReader(LinkReader):
    """A reader that lets a test act in the moments when it would otherwise race."""

    before_dump: Callable[[], None] | None = None
    after_dump: Callable[[], None] | None = None
    before_names: Callable[[], None] | None = None
    after_names: Callable[[], None] | None = None

    async def dump(self) -> Dump:
        """Return the counters of all links, of a moment between the two acts of the test."""
        act, self.before_dump = self.before_dump, None
        if act is not None:
            act()
        answer = await super().dump()
        act, self.after_dump = self.after_dump, None
        if act is not None:
            act()
        return answer

    async def names(self, ifindexes: Sequence[int]) -> AsyncIterator[list[LinkChanged]]:
        """Yield what the kernel calls each link once the test has acted."""
        act, self.before_names = self.before_names, None
        if act is not None:
            act()
        async for links in super().names(ifindexes):
            act, self.after_names = self.after_names, None
            if act is not None:
                act()
            yield links


@dataclass(slots=True)
class Watched:
    """Namespaces under watch by one ledger, sampled when the test says so."""

    ledger: Ledger = field(default_factory=Ledger)
    faults: FaultCounter = field(default_factory=FaultCounter)
    watches: list[NamespaceWatch] = field(default_factory=list)
    readers: list[MeddledReader] = field(default_factory=list)
    tables: list[LinkTable] = field(default_factory=list)
    event_ports: list[int] = field(default_factory=list)
    dump_ports: list[int] = field(default_factory=list)

    async def sample(self) -> None:
        """Sample every namespace, as the reader does on the beat."""
        for watch in self.watches:
            await watch.sample()

    def class_totals(self, class_name: str = "openvpn") -> Totals:
        """Return the totals of a class; that of tun links, if none is named."""
        return self.ledger.standing().total(Role.TUNNEL, class_name)


@contextlib.asynccontextmanager
async def watching(
    *namespaces: str,
    rules: Iterable[LinkRule] = BUILT_IN_RULES,
    event_buffer_bytes: int | None = None,
    is_following: bool = True,
    before_first_names: Callable[[], None] | None = None,
) -> AsyncIterator[Watched]:
    """Watch *namespaces* from now on; without following, events are read by samples only."""
    watched = Watched()
    classifier = Classifier(rules)
    async with contextlib.AsyncExitStack() as ladder:
        for namespace in namespaces:
            sockets = open_link_sockets(namespace)
            if event_buffer_bytes is not None:
                sockets.events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, event_buffer_bytes)
            watched.event_ports.append(sockets.events.getsockname()[0])
            watched.dump_ports.append(sockets.dumps.getsockname()[0])
            reader, table = MeddledReader(sockets.dumps), watched.ledger.open_table()
            reader.before_names = before_first_names
            watch = NamespaceWatch(
                namespace,
                EventSocket(sockets.events),
                reader,
                table,
                classifier,
                watched.faults,
            )
            ladder.callback(watch.close)
            watched.watches.append(watch)
            watched.readers.append(reader)
            watched.tables.append(table)
        for watch in watched.watches:
            await watch.start()
            await watch.reclassify()
            if is_following:
                watch.follow()
        yield watched


@dataclass(frozen=True, slots=True)
class KernelLink:
    """What iproute2 says of a link."""

    name: str
    rx_bytes: int
    tx_bytes: int


def kernel_links(namespace: str) -> dict[int, KernelLink]:
    """Return all links of *namespace*, as iproute2 reads them from an RTM_GETLINK dump."""
    shown = subprocess.run(
        ["ip", "-n", namespace, "-s", "-j", "link"], capture_output=True, timeout=60, check=True
    )
    return {
        each["ifindex"]: KernelLink(
            each["ifname"], each["stats64"]["rx"]["bytes"], each["stats64"]["tx"]["bytes"]
        )
        for each in json.loads(shown.stdout)
    }


def recorded_dump(namespace: str) -> list[bytes]:
    """Return the datagrams of an RTM_GETSTATS dump, as they came from the kernel."""
    # struct nlmsghdr, struct if_stats_msg with IFLA_STATS_LINK_64 as its filter
    request = struct.pack("=IHHIIB3xII", 28, _RTM_GETSTATS, _NLM_F_REQUEST_DUMP, 1, 0, 0, 0, 1)
    datagrams = []
    with entered(namespace), route_socket() as netlink:
        netlink.send(request)
        while True:
            datagram = netlink.recv(1 << 17)
            datagrams.append(datagram)
            if any(kind == _NLMSG_DONE for kind, _ in messages(datagram)):
                return datagrams


@contextlib.contextmanager
def recording_events(namespace: str) -> Iterator[list[bytes]]:
    """Record the datagrams of the link group in *namespace*; they are there at the end."""
    recorded: list[bytes] = []
    with entered(namespace):
        netlink = route_socket()
    with netlink:
        netlink.bind((0, _RTMGRP_LINK))
        yield recorded
        netlink.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                recorded.append(netlink.recv(1 << 17))


def send_forged(namespace: str, port: int, message: bytes) -> None:
    """Send *message* to the netlink socket at *port*, as a program that is not the kernel."""
    with entered(namespace), route_socket() as netlink:
        netlink.sendto(message, (port, 0))


def messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and bytes of each message in *datagram*, which is whole (netlink(7))."""
    while datagram:
        length, kind = struct.unpack_from("=IH", datagram)
        yield kind, datagram[:length]
        datagram = datagram[(length + 3) // 4 * 4 :]


def without_ipv6(namespace: str) -> None:
    """Keep the kernel from sending anything of its own over links made from now on."""
    with entered(namespace):
        for each in ("all", "default"):
            Path("/proc/sys/net/ipv6/conf", each, "disable_ipv6").write_text("1")


def _packet(size: int) -> bytes:
    header = _IPV4_HEADER.pack(
        0x45, 0, size, 0, 0, 64, 17, 0, bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
    )
    return header.ljust(size, b"\0")


def route_socket() -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    netlink.settimeout(30)
    return netlink


def _try(*command: str) -> None:
    """Run *command*.

    Raises: OSError with what it printed, if it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip() or f"{command[0]} failed")


def _call(function: Callable[..., int], *arguments: int) -> None:
    if function(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

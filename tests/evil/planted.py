"""What a half must not learn, planted in a namespace and around it: people, peers, connections."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trafficd
from tests.conftest import Namespace
from tests.evil.messages import attribute, request
from tests.lab import entered
from tests.sandbox import machine

NAME, ALIAS, ALTNAME = "evl-plain", "alias-of-a-customer", "altname-of-a-customer"
MAC, PEER_MAC = "02:ca:fe:0d:0e:0f", "02:ca:fe:77:88:99"
ADDRESS, NEIGHBOUR, NOBODY, REMOTE = "192.0.2.77", "192.0.2.78", "192.0.2.79", "192.0.2.99"
ADDRESS6, NOBODY6 = "2001:db8:cafe::77", "2001:db8:cafe::78"
ROUTED, UNROUTED, RULED = "198.51.100.5", "203.0.113.99", "203.0.113.77"
CONNECTED, LISTENING = "127.7.7.7", "127.7.7.8"
TRACKED, STATE, POLICY = "203.0.113.33", "203.0.113.44", "203.0.113.55"
ABSTRACT = "evl-abstract-of-a-customer"
PAYLOAD = b"payload of a customer"
FILE_TEXT, INPUT_TEXT = "line of a customer", "input of an operator"
TITLE, ENVIRONMENT = "session-of-a-customer", "customer=alice-the-customer"

CONFIG = """
window: 5m
links:
  - {name: "eth*", role: uplink, capacity: 1Gbit}
  - {name: "evl-*", class: l2tp}
"""

_LINKS = f"""
link add {NAME} address {MAC} type veth peer name evl-peer
link set evl-peer up
link set {NAME} up alias {ALIAS}
link property add dev {NAME} altname {ALTNAME}
address add {ADDRESS}/24 dev {NAME}
address add {ADDRESS6}/64 dev {NAME} nodad
neighbour add {NEIGHBOUR} lladdr {PEER_MAC} dev {NAME}
route add 198.51.100.0/24 via {NEIGHBOUR}
rule add from {RULED} lookup 77
link add evl-spare type bridge
link set evl-spare up
link set evl-peer master evl-spare
address add {CONNECTED}/32 dev lo
address add {LISTENING}/32 dev lo
"""
_PROVOKED = f"""
address add 192.0.2.66/32 dev {NAME}
address add 2001:db8:cafe::66/128 dev {NAME} nodad
neighbour add 192.0.2.67 lladdr 02:ca:fe:66:66:66 dev {NAME}
route add 198.51.101.0/24 via {NEIGHBOUR}
rule add from 203.0.113.66 lookup 66
link set evl-spare alias alias-of-a-moment
link add evl-of-a-moment type bridge
link del evl-of-a-moment
link set evl-spare alias ""
rule del from 203.0.113.66 lookup 66
route del 198.51.101.0/24 via {NEIGHBOUR}
neighbour del 192.0.2.67 dev {NAME}
address del 2001:db8:cafe::66/128 dev {NAME}
address del 192.0.2.66/32 dev {NAME}
"""
# What a kernel may have been built without.
_IF_IT_CAN = {
    "vxlan": f"link add evl-vxlan type vxlan id 77 remote {REMOTE} dev {NAME} dstport 4789",
    "wireguard": "link add evl-wg type wireguard",
    "state": f"xfrm state add src {STATE} dst {RULED} proto esp spi 0x77 mode tunnel"
    " auth digest_null '' enc cipher_null ''",
    "policy": f"xfrm policy add src {POLICY} dst {RULED} dir out",
}

# linux/netfilter/nfnetlink_conntrack.h: IPCTNL_MSG_CT_NEW and its attributes
_CONNTRACK_NEW, _NETFILTER = 1 << 8, 12
_NESTED, _CREATE, _ACKNOWLEDGE = 0x8000, 0x400, 4
_CTA_ORIGINAL, _CTA_REPLY, _CTA_STATUS, _CTA_TIMEOUT = 1, 2, 3, 7
_UDP = 17


def secrets() -> dict[str, bytes]:
    """Return what must not be learned, by what it is: its name first, then how it is written."""
    found = {
        "link's name": NAME.encode(),
        "link's name of a moment": b"evl-of-a-moment",
        "alias": ALIAS.encode(),
        "alias of a moment": b"alias-of-a-moment",
        "altname": ALTNAME.encode(),
        "name of a socket": ABSTRACT.encode(),
        "payload": PAYLOAD,
        "file's text": FILE_TEXT.encode(),
        "input's text": INPUT_TEXT.encode(),
        "title": TITLE.encode(),
        "environment": ENVIRONMENT.encode(),
    }
    for name, mac in (("link's MAC", MAC), ("peer's MAC", PEER_MAC),
                      ("peer's MAC of a moment", "02:ca:fe:66:66:66")):  # fmt: skip
        found[name] = bytes.fromhex(mac.replace(":", ""))
        found[f"{name} in words"] = mac.encode()
    for name, address in (
        ("address", ADDRESS), ("neighbour", NEIGHBOUR), ("tunnel's remote", REMOTE),
        ("route", "198.51.100.0"), ("rule", RULED), ("connection", CONNECTED),
        ("listener", LISTENING), ("tracked connection", TRACKED), ("IPsec state", STATE),
        ("IPsec policy", POLICY), ("address of a moment", "192.0.2.66"),
        ("neighbour of a moment", "192.0.2.67"), ("route of a moment", "198.51.101.0"),
        ("rule of a moment", "203.0.113.66"),
    ):  # fmt: skip
        packed = socket.inet_aton(address)
        found[name] = packed
        found[f"{name} in words"] = address.encode()
        # As /proc/net/tcp writes it.
        found[f"{name} in digits"] = packed[::-1].hex().upper().encode()
    for name, address in (
        ("IPv6 address", ADDRESS6),
        ("IPv6 address of a moment", "2001:db8:cafe::66"),
    ):
        packed = socket.inet_pton(socket.AF_INET6, address)
        found[name] = packed
        found[f"{name} in digits"] = packed.hex().encode()
    return found


@dataclass(frozen=True, slots=True)
class Planted:
    """A namespace in which there is something to learn, and ears for what is sent."""

    namespace: Namespace
    folder: Path
    state: Path
    ifindexes: dict[str, int]
    could: list[str]
    session: "subprocess.Popen[bytes]"
    ears: dict[str, socket.socket]

    @property
    def config(self) -> Path:
        return self.folder / "agent.yml"

    @property
    def answers(self) -> Path:
        return self.folder / "answers"

    @property
    def input(self) -> Path:
        return self.folder / "input"

    def facts(self) -> dict[str, object]:
        """Return what the evil module is told, lest it fail for not knowing where to look."""
        return {
            "secrets": {name: value.hex() for name, value in secrets().items()},
            "ifindexes": self.ifindexes,
            "could": self.could,
            "name": NAME, "altname": ALTNAME, "neighbour": NEIGHBOUR, "nobody": NOBODY,
            "address6": ADDRESS6, "nobody6": NOBODY6, "routed": ROUTED, "unrouted": UNROUTED,
            "session": self.session.pid,
            "session_address": _some_memory(self.session.pid),
            "directory": str(self.folder / "open"),
            "file": str(self.folder / "open" / "file"),
            "spare_file": str(self.folder / "open" / "spare"),
            "config": str(self.config),
            "state": str(self.state / "state"),
            "code": trafficd.__file__,
            "package": str(Path(trafficd.__file__).parent),
            "unix_path": str(self.folder / "open" / "listening"),
            "unix_name": ABSTRACT,
            "netlink_port": self.ears["netlink"].getsockname()[0],
            "tcp_port": self.ears["tcp"].getsockname()[1],
            "udp_port": self.ears["udp"].getsockname()[1],
        }  # fmt: skip

    def renew(self) -> None:
        """Put back what an evil half may have taken away."""
        for name in ("file", "spare", "to-be-unlinked"):
            (self.folder / "open" / name).write_text(FILE_TEXT)
            (self.folder / "open" / name).chmod(0o666)
        # Each agent begins a run of its own.
        (self.state / "state").unlink(missing_ok=True)

    def provoke(self) -> None:
        """Change addresses, neighbours, routes, rules and an alias, and add a link, and undo it."""
        _batch(self.namespace, _PROVOKED)

    def send_a_packet(self) -> None:
        """Send a customer's datagram to a port of loopback."""
        with (
            entered(self.namespace.name),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            sender.sendto(PAYLOAD, (LISTENING, self.ears["customer"].getsockname()[1]))


def some_facts_of(process: int, who: str) -> dict[str, int]:
    """Return what there is to know of a process where one may look."""
    return {who: process, f"{who}_address": _some_memory(process)}


@contextlib.contextmanager
def planted(namespace: Namespace) -> Iterator[Planted]:
    """Plant it all; what is of the test's own goes with the block."""
    with contextlib.ExitStack() as ladder:
        folder = Path(ladder.enter_context(tempfile.TemporaryDirectory(prefix="trafficd-evil-")))
        _make_files(folder)
        ram = ladder.enter_context(tempfile.TemporaryDirectory(prefix="trafficd-", dir="/dev/shm"))
        _batch(namespace, _LINKS)
        could = [what for what, command in _IF_IT_CAN.items() if _can(namespace, command)]
        session = subprocess.Popen(
            [TITLE, "1000"], executable="/bin/sleep", env=dict([ENVIRONMENT.split("=")])
        )
        ladder.callback(session.wait)
        ladder.callback(session.kill)
        with entered(namespace.name):
            ears = _ears(ladder, folder)
            _track(TRACKED)
        yield Planted(namespace, folder, Path(ram), _ifindexes(namespace), could, session, ears)


def _can(namespace: Namespace, command: str) -> bool:
    done = subprocess.run(
        ["ip", "-n", namespace.name, "-batch", "-"], input=command, text=True,
        capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    return done.returncode == 0


def _make_files(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    (folder / "input").write_text(INPUT_TEXT)
    (folder / "agent.yml").write_text(machine.configuration() + CONFIG)
    # In a folder of its own, since all that stands beside it can be read.
    (folder / "web").mkdir()
    (folder / "web" / "web.yml").write_text("{}\n")
    (folder / "with-web.yml").write_text(
        f"{machine.configuration()}{CONFIG}metrics: {{web_config: {folder}/web/web.yml}}\n"
    )
    (folder / "pushing.yml").write_text(
        f"{machine.configuration()}{CONFIG}push: [{{name: centre, url: 'http://centre.invalid:9/'}}]\n"
    )
    os.mkfifo(folder / "answers")


def _ears(ladder: contextlib.ExitStack, folder: Path) -> dict[str, socket.socket]:
    def opened(family: int, kind: int, address: object) -> socket.socket:
        made = ladder.enter_context(socket.socket(family, kind))
        made.bind(address)  # type: ignore[arg-type]  # of the family's own shape
        return made

    listener = opened(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    listener.listen()
    private = opened(socket.AF_INET, socket.SOCK_STREAM, (LISTENING, 0))
    private.listen()
    # The connection that a half must not see.
    client = opened(socket.AF_INET, socket.SOCK_STREAM, (CONNECTED, 0))
    client.connect(private.getsockname())
    ladder.enter_context(private.accept()[0])
    ladder.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    path = folder / "open" / "listening"
    ears = {
        "tcp": listener,
        "udp": opened(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "customer": opened(socket.AF_INET, socket.SOCK_DGRAM, (LISTENING, 0)),
        "path": opened(socket.AF_UNIX, socket.SOCK_DGRAM, str(path)),
        "abstract": opened(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{ABSTRACT}"),
        "netlink": opened(socket.AF_NETLINK, socket.SOCK_RAW, (0, 0)),
    }
    path.chmod(0o777)
    return ears


def _track(address: str) -> None:
    """Enter a connection in the table of those that are tracked, where there is one."""

    def tuple_of(kind: int, source: str, destination: str) -> bytes:
        addresses = attribute(1, socket.inet_aton(source)) + attribute(
            2, socket.inet_aton(destination)
        )
        ports = b"".join(attribute(number, struct.pack("!H", 7777)) for number in (2, 3))
        protocol = attribute(1, bytes((_UDP,))) + ports
        both = attribute(1 | _NESTED, addresses) + attribute(2 | _NESTED, protocol)
        return attribute(kind | _NESTED, both)

    body = struct.pack("=BBH", socket.AF_INET, 0, 0)
    body += tuple_of(_CTA_ORIGINAL, address, RULED) + tuple_of(_CTA_REPLY, RULED, address)
    # IPS_CONFIRMED and IPS_SEEN_REPLY
    body += attribute(_CTA_STATUS, struct.pack("!I", 0xA))
    body += attribute(_CTA_TIMEOUT, struct.pack("!I", 3600))
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as netlink,
    ):
        netlink.settimeout(5)
        netlink.send(request(_CONNTRACK_NEW, body, flags=_CREATE | _ACKNOWLEDGE))
        netlink.recv(4096)


def _ifindexes(namespace: Namespace) -> dict[str, int]:
    with entered(namespace.name):
        known = {name: number for number, name in socket.if_nameindex()}
    wanted = {"plain": NAME, "spare": "evl-spare", "vxlan": "evl-vxlan", "wireguard": "evl-wg"}
    return {what: known[name] for what, name in wanted.items() if name in known}


def _batch(namespace: Namespace, lines: str) -> None:
    subprocess.run(
        ["ip", "-n", namespace.name, "-batch", "-"],
        input=lines.strip(), text=True, timeout=60, check=True, stdout=sys.stderr,
    )  # fmt: skip


def _some_memory(process: int) -> int:
    """Return the address of a page that *process* may read and write."""
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        place, rights, *_ = line.split()
        if rights.startswith("rw"):
            return int(place.partition("-")[0], 16)
    raise AssertionError("a process without memory")

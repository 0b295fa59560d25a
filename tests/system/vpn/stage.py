"""The stage: a server, clients in namespaces of their own, and the network between them.

All of it is in a mount and a process namespace that ends with the first process in it.
"""

import json
import secrets
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.vpn.host import Host, wait_until

# As programs in the servers' file system call it.
FOLDER = "/srv/vpn"
# RFC 5737
NETWORK = "203.0.113"
# Of the server and the clients, for the search; the last byte is the host's number.
MAC = "02:ca:4a:7e:0b:{:02x}"


@dataclass(slots=True)
class Stage:
    """Who is there, and what must be found nowhere: its kind, what it is, and how it is written."""

    root: Path
    server: Host
    clients: list[Host]
    secrets: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where ``FOLDER`` is for this process."""
        return self.root / FOLDER.lstrip("/")

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file for a program, which alone can read it; return what it calls the file."""
        file = self.folder / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(0o700)
        return f"{FOLDER}/{name}"

    def secret(self, kind: str, what: str, value: str) -> str:
        """Return *value*, which is noted as something to look for.

        Shape: *kind* is `text`, `ipv4`, `mac`, `hex` or `base64`; the last two are of bytes.
        """
        self.secrets.append((kind, what, value))
        return value

    def note_addresses(self) -> None:
        """Note every address that a host has by now."""
        for host in (self.server, *self.clients):
            for link in json.loads(host.shown("-4", "-j", "address")):
                for each in link["addr_info"]:
                    if each["scope"] != "host":
                        self.secret("ipv4", f"address on {link['ifname']}", each["local"])

    def user(self, number: int) -> tuple[str, str]:
        """Return the name and the password of a client's user."""
        name = self.secret("text", "user", f"user-CANARY-{number}-{secrets.token_hex(3)}")
        return name, self.secret("text", "password", f"pass-CANARY-{secrets.token_hex(6)}")


def set_up(root: Path, clients: int) -> Stage:
    """Make the caller's namespace the server's, with eth0, and *clients* others.

    *root* is changed for the caller's mount namespace alone.
    """
    _make_writable(root)
    folder = root / FOLDER.lstrip("/")
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "tmpfs", folder)
    # Held by a program as well: threads of this process are now here, now there.
    server = Host("server", f"{NETWORK}.1", _namespace_of("sleep", "infinity"), root)
    network = Host("network", "", _new_namespace(), root)
    others = [
        Host(f"client{number}", f"{NETWORK}.{10 + number}", _new_namespace(), root)
        for number in range(clients)
    ]
    stage = Stage(root, server, others)
    for host in (server, network, *others):
        _silence(host)
    network.ip("link add bridge0 type bridge", "link set bridge0 up")
    for number, host in enumerate((server, *others)):
        mac = stage.secret("mac", f"MAC of the {host.name}", MAC.format(number))
        ends = f"port{number} netns {_process(network)}"
        host.ip(
            "link set lo up",
            f"link add eth0 address {mac} type veth peer name {ends}",
            f"address add {host.address}/24 dev eth0",
            "link set eth0 up",
        )
        network.ip(f"link set port{number} master bridge0", f"link set port{number} up")
    return stage


def _make_writable(root: Path) -> None:
    """Lay a file system over *root* that takes what is written and is gone in the end."""
    if root == Path("/"):
        return
    over = root / "tmp"
    _mount("-t", "tmpfs", "tmpfs", over)
    for each in ("upper", "work"):
        (over / each).mkdir()
    layers = f"lowerdir={root},upperdir={over}/upper,workdir={over}/work"
    _mount("-t", "overlay", "overlay", "-o", layers, root)
    for each in ("dev", "proc"):
        _mount("--rbind", f"/{each}", root / each)
    _mount("-t", "tmpfs", "tmpfs", root / "run")


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], timeout=60, check=True)


def _namespace_of(*command: str) -> Path:
    return Path(f"/proc/{subprocess.Popen(command).pid}/ns/net")


def _new_namespace() -> Path:
    made = _namespace_of("unshare", "--net", "sleep", "infinity")
    own = Path("/proc/self/ns/net").stat().st_ino
    wait_until(lambda: made.stat().st_ino != own, "no namespace")
    return made


def _process(host: Host) -> str:
    return host.namespace.parts[2]


def _silence(host: Host) -> None:
    """Keep the kernel from sending anything of its own over links made from now on."""
    with host.entered():
        for each in ("all", "default"):
            Path("/proc/sys/net/ipv6/conf", each, "disable_ipv6").write_text("1")

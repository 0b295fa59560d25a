"""The Debian package: installed, upgraded over a running node, removed, on real systemd."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

import trafficd
from tests.system.container import debian_container
from tests.system.deb import (
    NEXT,
    NODE,
    Package,
    built,
    copy_of_this_tree,
    fit_to_this_host,
    install,
    packages_of_this_tree,
)
from tests.system.debian_packages import MachineError
from tests.system.node import CONFIG, EVENTS, EXPORTER, READER, STATE, TARGET, Node
from trafficd.accounting.ledger import Ledger
from trafficd.continuity.checkpoint import Checkpoint
from trafficd.continuity.journal import Journal
from trafficd.continuity.records import replay_event
from trafficd.releases import Totals
from trafficd.rules import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.container import Container

# What the package depends on beside what every container has, and what installs it.
PACKAGES = ("adduser", "apt")

# What the package manager keeps for itself, what is in no file system of the machine's own, and
# the copies that the tools for groups make before they write.
KEPT_BY_DEBIAN = ("var/lib/dpkg", "var/lib/apt", "var/cache", "var/log")
NOT_ON_DISK = ("proc", "sys", "dev", "run", "tmp")
COPIES = ("etc/group-", "etc/gshadow-")

# Sessions of milliseconds, and some as long as the program, which ends with its input. It prints
# once it has begun, and what all of them moved.
SESSIONS = """
import select, socket, sys
from trafficd.demo.tun import Tun

ioctls = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
packet = b"\\x45" + bytes(8999)
moved = [0, 0]

def session(number):
    return Tun(f"ppp{number}", ioctls, here="10.9.0.1", behind=f"10.9.1.{number % 250}")

def move(number, link, size):
    link.receive(packet[:size])
    ioctls.sendto(packet[: size // 2], (f"10.9.1.{number % 250}", 9))
    link.drain()

def close(link):
    link.drain()
    link.close()
    moved[0] += link.rx_bytes
    moved[1] += link.tx_bytes

long = [session(number) for number in range(5)]
number = 100
while not select.select([sys.stdin], [], [], 0.002)[0]:
    number += 1
    short = session(number)
    for size in range(100, 9000, 1000 + number % 7):
        move(number, short, size)
    move(number % len(long), long[number % len(long)], 1000 + number % 100)
    close(short)
    if number == 150:
        print("begun", flush=True)
for link in long:
    close(link)
print(*moved)
"""


@pytest.fixture(scope="module")
def package() -> Package:
    return packages_of_this_tree()[NODE]


@pytest.fixture(scope="module")
def next_package() -> Package:
    return packages_of_this_tree(NEXT)[NODE]


@pytest.fixture
def machine() -> Iterator[Container]:
    with debian_container(packages=PACKAGES) as container:
        # Of the test bed, for those who install by hand.
        container.run("rm", "-rf", "/opt/trafficd")
        fit_to_this_host(container)
        # Neighbours are not looked for on links that move only what a test sends.
        container.run("sysctl", "-q", "net.ipv6.conf.default.disable_ipv6=1")
        yield container


def start(machine: Container) -> Node:
    node = Node(machine)
    node.systemctl("enable", "--now", TARGET)
    node.until_active(READER, EXPORTER)
    return node


def shows(node: Node, package: Package) -> bool:
    """Return whether the page is of that version's exporter, by now."""
    with contextlib.suppress(MachineError):
        return f'trafficd_build_info{{version="{package.version}"}}' in node.page()
    return False


def units_with_state(machine: Container, state: str) -> str:
    words = ("list-units", "--all", "--plain", "--no-legend", f"--state={state}", "trafficd*")
    return machine.run("systemctl", *words).stdout


def tunnel_totals(machine: Container) -> Totals | None:
    """Return what the reader has counted on all tunnels until now, from its state in RAM."""
    with contextlib.suppress(FileNotFoundError):
        memory = bytearray(Path(f"{machine.root}{STATE}", "state").read_bytes())
        # A copy of what is being written may be torn; then there is nothing, or an older one.
        if found := Journal(memoryview(memory)).recover():
            checkpoint = msgspec.msgpack.decode(found.checkpoint, type=Checkpoint)
            ledger = Ledger.restored(checkpoint.ledger)
            for record in found.records:
                replay_event(record, ledger.tables)
            return ledger.standing().total(Role.TUNNEL)
    return None


@contextlib.contextmanager
def sessions(machine: Container) -> Iterator[subprocess.Popen[str]]:
    """Have clients come and go on the machine; end it with ``truth``."""
    running = subprocess.Popen(
        [*("nsenter", f"--net=/proc/{machine.leader}/ns/net"), *(sys.executable, "-c", SESSIONS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with running:
            assert running.stdout is not None
            assert running.stdout.readline() == "begun\n"
            yield running
    finally:
        running.kill()


def truth(running: subprocess.Popen[str]) -> Totals:
    said, _ = running.communicate(timeout=60)
    received, sent = said.split()
    return Totals(int(received), int(sent))


def files(machine: Container) -> dict[str, str]:
    """Return what is on the machine's disk, each file by its owner, mode and content."""
    found = {}
    for folder, directories, names in os.walk(machine.root):
        place = Path(folder).relative_to(machine.root)
        skipped = (*NOT_ON_DISK, *KEPT_BY_DEBIAN)
        directories[:] = [each for each in directories if str(place / each) not in skipped]
        for name in (*directories, *names):
            path = Path(folder, name)
            status = path.lstat()
            held = ""
            if stat.S_ISREG(status.st_mode):
                held = hashlib.sha256(path.read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                held = str(path.readlink())
            found[str(place / name)] = f"{status.st_mode:o} {status.st_uid} {status.st_gid} {held}"
    return {name: told for name, told in found.items() if name not in COPIES}


def test_the_same_tree_gives_the_same_packages_wherever_it_lies(tmp_path: Path) -> None:
    once = packages_of_this_tree()

    again = built(
        copy_of_this_tree(trafficd.__version__),
        tmp_path / "elsewhere" / "tree",
        trafficd.__version__,
    )

    assert again == once


def test_an_installed_node_is_stopped_until_it_is_started_in_one_step_and_then_counts(
    machine: Container, package: Package
) -> None:
    said = install(machine, package)
    active_before = units_with_state(machine, "active")
    node = start(machine)

    assert "systemctl enable --now trafficd.target" in said
    assert active_before == ""
    assert shows(node, package)
    with sessions(machine) as running:
        moved = truth(running)
    machine.until(lambda: tunnel_totals(machine) == moved, 30, f"totals of {moved}")
    assert min(moved.rx_bytes, moved.tx_bytes) > 0


def test_every_line_of_the_audit_of_an_installed_node_passes(
    machine: Container, package: Package
) -> None:
    install(machine, package)
    start(machine)

    audit = machine.run(
        *("/opt/trafficd/bin/trafficd", "audit", "--config", CONFIG, "--json"),
        check=False,
    )

    claims = json.loads(audit.stdout)["claims"]
    assert len(claims) > 50
    assert [each for each in claims if each["verdict"] != "PASS"] == []
    assert audit.returncode == 0


@pytest.mark.parametrize("is_killed", [False, True], ids=["calm", "killed all the while"])
def test_an_upgrade_of_a_running_node_loses_no_byte_of_sessions_that_come_and_go(
    machine: Container, package: Package, next_package: Package, is_killed: bool
) -> None:
    install(machine, package)
    node = start(machine)
    listening_since = node.show(EVENTS, "ActiveEnterTimestampMonotonic")
    done = threading.Event()
    killed: list[str] = []
    killer = threading.Thread(target=kill_readers, args=(node, done, killed))

    with sessions(machine) as running:
        if is_killed:
            killer.start()
        try:
            install(machine, next_package)
        finally:
            done.set()
            if is_killed:
                killer.join()
                assert killed
        machine.until(lambda: shows(node, next_package), 30, "the new version's page")
        moved = truth(running)

    machine.until(lambda: tunnel_totals(machine) == moved, 30, f"totals of {moved}")
    # pid 1 held what the kernel said, all the time.
    assert node.show(EVENTS, "ActiveEnterTimestampMonotonic") == listening_since
    assert {each.name for each in (machine.root / "opt/trafficd").iterdir()} == {NEXT, "bin"}


def kill_readers(node: Node, done: threading.Event, killed: list[str]) -> None:
    """Kill the reader while it starts, while it counts, while it is replaced, until *done*."""
    node.change(READER, "RestartSec=0\n")
    pauses = random.Random(1)
    while not done.wait(pauses.uniform(0, 0.4)):
        process = node.show(READER, "MainPID")
        if process != "0" and not node.systemctl("kill", "--signal=KILL", READER, check=False):
            killed.append(process)


def test_an_upgrade_of_a_stopped_node_starts_nothing(
    machine: Container, package: Package, next_package: Package
) -> None:
    install(machine, package)

    install(machine, next_package)

    assert units_with_state(machine, "active") == ""


def test_a_removed_node_is_stopped_and_a_purged_one_leaves_nothing(
    machine: Container, package: Package
) -> None:
    before = files(machine)
    install(machine, package)
    start(machine)
    machine.write("/etc/trafficd/web.yml", "basic_auth_users: {}\n")
    machine.run("systemctl", "enable", "trafficd-reader@blue.socket")

    machine.run("apt-get", "remove", "-y", "trafficd")
    removed = set(files(machine)) - set(before)
    active = units_with_state(machine, "active")
    machine.run("apt-get", "purge", "-y", "trafficd")

    assert "etc/trafficd/agent.yml" in removed
    assert not any(each.startswith(("opt", "lib", "usr")) for each in removed)
    assert active == ""
    assert files(machine) == before
    left = (machine.root / "run").glob("**/*trafficd*")
    assert [each for each in left if "/run/systemd/system/" not in str(each)] == []
    assert machine.run("pgrep", "-f", "[t]rafficd", check=False).stdout == ""


def test_it_is_installed_and_purged_where_systemd_does_not_run(
    machine: Container, package: Package
) -> None:
    before = files(machine)
    machine.write("/var/tmp/trafficd.deb", package.content)

    # As in a chroot: nothing of the running systemd is to be seen.
    script = """
    mount -t tmpfs tmpfs /run
    dpkg --install /var/tmp/trafficd.deb
    systemctl enable trafficd.target
    dpkg --remove trafficd
    dpkg --purge trafficd
    """
    done = machine.run("unshare", "--mount", "sh", "-ec", script)

    machine.run("rm", "/var/tmp/trafficd.deb")
    assert "trafficd is installed and stopped" in done.stdout
    assert files(machine) == before

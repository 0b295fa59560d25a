"""The collector's package on real systemd, and what root's commands leave to the service."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.pushing import MIB, message, packed
from tests.system.container import Container, debian_container
from tests.system.deb import (
    COLLECTOR,
    NEXT,
    NODE,
    Package,
    fit_to_this_host,
    install,
    packages_of_this_tree,
)
from tests.system.node import Node as InstalledNode
from tests.system.readme import blocks
from tests.system.test_package import PACKAGES, files
from trafficd.collector.slices import Node
from trafficd.wire.remote_write import HEADERS, Protocol

UNIT = "trafficd-collector.service"
PROGRAM = "/opt/trafficd-collector/bin/trafficd"
DATABASE = "/var/lib/trafficd/collector.db"
FRA = Node(1, "fra-17", "fra")
UPLINK = "trafficd_uplink_receive_bytes_total"
# Prints the status, and the body behind it.
ASK = """
import json, sys, urllib.error, urllib.request
url, headers, body = sys.argv[1], json.loads(sys.argv[2]), sys.stdin.buffer.read()
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, body or None, headers), timeout=20)
except urllib.error.HTTPError as error:
    answer = error
except OSError:
    sys.exit(print(0))
print(answer.status, answer.read().decode(), end="")
"""
# As of Debian policy 9.3.3.1: nothing may be started.
NOTHING_STARTS = "#!/bin/sh\nexit 101\n"


@pytest.fixture(scope="module")
def package() -> Package:
    return packages_of_this_tree()[COLLECTOR]


@pytest.fixture(scope="module")
def next_package() -> Package:
    return packages_of_this_tree(NEXT)[COLLECTOR]


@pytest.fixture(scope="module")
def booted() -> Iterator[Container]:
    with debian_container(packages=PACKAGES) as container:
        # Of the test bed, for those who install by hand.
        container.run("rm", "-rf", "/opt/trafficd")
        yield container


@pytest.fixture
def machine(booted: Container) -> Iterator[Container]:
    """A machine on which no collector was ever installed."""
    yield booted
    booted.run("rm", "-f", "/usr/sbin/policy-rc.d", "/var/backups/collector.db")
    booted.run("dpkg", "--purge", NODE, COLLECTOR, seconds=100)


def command(machine: Container, *words: str) -> str:
    """Run one of the collector's own commands, as root does."""
    return machine.run(
        PROGRAM, "collector", "--config", "/etc/trafficd/collector.yml", *words
    ).stdout


def add_node(machine: Container) -> str:
    return command(machine, "add-node", FRA.name, "--location", FRA.location).split()[-1]


def ask(machine: Container, path: str, headers: str = "{}", body: bytes = b"") -> tuple[int, str]:
    url = f"http://127.0.0.1:9788{path}"
    status, _, text = machine.run("python3", "-c", ASK, url, headers, stdin=body).stdout.partition(
        " "
    )
    return int(status), text


def push(machine: Container, token: str, total: int, at: int) -> int:
    """Push a release, and return the status of the answer; 0 if there was none."""
    headers = {**HEADERS[Protocol.V1], "Authorization": f"Bearer {token}"}
    written = ", ".join(f'"{name}": "{value}"' for name, value in headers.items())
    body = packed(message((UPLINK, {}, total), node=FRA, at=at))
    return ask(machine, "/api/v1/write", f"{{{written}}}", body)[0]


def until_taken(machine: Container, token: str, total: int, at: int) -> None:
    machine.until(lambda: push(machine, token, total, at) == 204, 30, f"the release of {at}")


def shown(machine: Container) -> int:
    """Return how much the page says that the location received."""
    name = "trafficd_location_uplink_receive_bytes_total"
    _, page = ask(machine, "/metrics")
    (line,) = (line for line in page.splitlines() if line.startswith(f"{name}{{"))
    return int(line.split()[1])


def recent() -> int:
    return int(time.time()) // 300 * 300


def show(machine: Container, name: str) -> str:
    words = ("systemctl", "show", f"--property={name}", "--value", UNIT)
    return machine.run(*words).stdout.strip()


def planners(machine: Container) -> list[str]:
    """Return the processes that plan."""
    return machine.run("pgrep", "-f", "[t]rafficd.planning.worker", check=False).stdout.split()


def is_active(machine: Container) -> bool:
    return show(machine, "ActiveState") == "active"


def owners(machine: Container) -> set[str]:
    """Return who owns the directory of the database and all in it."""
    found = machine.run("find", "/var/lib/trafficd/", "-printf", "%U:%G\n")
    return set(found.stdout.split())


def test_an_installed_collector_plans_in_a_process_that_goes_first_where_memory_is_short(
    machine: Container, package: Package
) -> None:
    install(machine, package)
    machine.until(lambda: ask(machine, "/api/v1/plan")[0] == 200, 60, "a plan")
    status, page = ask(machine, "/")
    (planner,) = planners(machine)
    score = machine.run("cat", f"/proc/{planner}/oom_score_adj").stdout.strip()

    # As the kernel does where there is no memory.
    machine.run("kill", "-KILL", planner)
    machine.until(
        lambda: ask(machine, "/api/v1/plan/what-if?growth=1") and planners(machine),
        60,
        "another process that plans",
    )

    assert (status, score) == (200, "1000")
    assert "no node has a day that is over" in page
    assert is_active(machine)
    assert show(machine, "NRestarts") == "0"


def test_an_installed_collector_serves_and_knows_nodes_as_they_are_added_and_revoked(
    machine: Container, package: Package
) -> None:
    said = install(machine, package)
    health = ask(machine, "/healthz")
    token = add_node(machine)
    until_taken(machine, token, 7 * MIB, recent())
    listed = command(machine, "list-nodes")
    command(machine, "revoke-node", FRA.name)
    machine.until(
        lambda: push(machine, token, 7 * MIB, recent()) == 403, 30, "the end of the token"
    )

    assert "add-node NAME --location PLACE" in said
    assert health == (200, "OK\n")
    assert listed.startswith("fra-17 fra added ")
    assert shown(machine) == 7 * MIB
    assert is_active(machine)


def test_history_outlives_a_kill_a_restart_and_a_reboot(
    machine: Container, package: Package
) -> None:
    install(machine, package)
    token, at = add_node(machine), recent()
    until_taken(machine, token, 7 * MIB, at - 300)
    for end in (("kill", "--signal=KILL", UNIT), ("restart", UNIT)):
        machine.run("systemctl", *end)
        machine.until(lambda: ask(machine, "/healthz")[0] == 200, 30, "the collector")
    machine.reboot()
    machine.until(lambda: ask(machine, "/healthz")[0] == 200, 30, "the collector")
    until_taken(machine, token, 9 * MIB, at)

    assert shown(machine) == 9 * MIB
    assert command(machine, "verify") == f"{DATABASE}: good\n"


def test_a_node_can_be_added_before_the_service_has_ever_run(
    machine: Container, package: Package
) -> None:
    machine.write("/usr/sbin/policy-rc.d", NOTHING_STARTS, 0o755)
    install(machine, package)
    was_active = is_active(machine)

    token = add_node(machine)
    machine.run("systemctl", "start", UNIT)
    until_taken(machine, token, MIB, recent())

    assert not was_active
    assert shown(machine) == MIB


def test_the_service_can_write_whatever_roots_commands_made_while_it_was_stopped(
    machine: Container, package: Package
) -> None:
    install(machine, package)
    machine.run("systemctl", "stop", UNIT)
    machine.run("sh", "-c", f"rm {DATABASE}*")
    token = add_node(machine)
    command(machine, "list-nodes")
    command(machine, "verify")
    (owner,) = owners(machine)

    machine.run("systemctl", "start", UNIT)
    until_taken(machine, token, MIB, recent())
    command(machine, "revoke-node", FRA.name)
    command(machine, "verify")

    assert owners(machine) == {owner}
    # systemd.exec(5): the range of dynamic users.
    assert 61184 <= int(owner.partition(":")[0]) <= 65519
    assert is_active(machine)


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_a_copy_made_by_root_is_put_back_and_the_service_goes_on_with_it(
    machine: Container, package: Package, is_running: bool
) -> None:
    install(machine, package)
    token, at = add_node(machine), recent()
    until_taken(machine, token, 7 * MIB, at - 300)
    if not is_running:
        machine.run("systemctl", "stop", UNIT)
    command(machine, "backup", "/var/backups/collector.db")
    machine.run("systemctl", "start", UNIT)
    until_taken(machine, token, 8 * MIB, at)

    (put_back,) = blocks("Copy it with `backup COPY`", "### Alerts and dashboards")
    machine.run("sh", "-euc", put_back)
    before = shown(machine)
    until_taken(machine, token, 9 * MIB, at)

    assert before == 7 * MIB
    assert shown(machine) == 9 * MIB
    assert len(owners(machine)) == 1


def test_an_upgrade_while_a_node_pushes_loses_nothing(
    machine: Container, package: Package, next_package: Package
) -> None:
    install(machine, package)
    token, first = add_node(machine), recent() - 1000 * 300
    until_taken(machine, token, 0, first)
    upgraded = threading.Event()
    pushed: list[int] = []

    def keep_pushing() -> None:
        """As a node does: the oldest until it is taken, then the next."""
        while not upgraded.is_set():
            number = len(pushed) + 1
            if push(machine, token, number * MIB, first + number * 300) == 204:
                pushed.append(number)

    node = threading.Thread(target=keep_pushing)
    node.start()
    try:
        install(machine, next_package)
    finally:
        upgraded.set()
        node.join()
    last = len(pushed) + 1
    until_taken(machine, token, last * MIB, first + last * 300)

    process = show(machine, "MainPID")
    program = machine.run("cat", f"/proc/{process}/cmdline").stdout
    assert program.startswith(f"/opt/trafficd-collector/{NEXT}/bin/python3\0")
    assert {each.name for each in (machine.root / f"opt/{COLLECTOR}").iterdir()} == {NEXT, "bin"}
    assert pushed
    assert shown(machine) == last * MIB
    assert command(machine, "verify") == f"{DATABASE}: good\n"


def test_a_collector_that_was_disabled_stays_so_over_an_upgrade(
    machine: Container, package: Package, next_package: Package
) -> None:
    install(machine, package)
    machine.run("systemctl", "disable", "--now", UNIT)

    install(machine, next_package)

    assert not is_active(machine)
    assert machine.run("systemctl", "is-enabled", UNIT, check=False).stdout == "disabled\n"


def test_a_removed_collector_keeps_its_history_and_a_purged_one_leaves_nothing(
    machine: Container, package: Package
) -> None:
    before = files(machine)
    install(machine, package)
    add_node(machine)
    machine.write("/etc/trafficd/collector-web.yml", "basic_auth_users: {}\n")
    machine.run("apt-get", "remove", "-y", COLLECTOR)
    removed = set(files(machine)) - set(before)
    was_active = is_active(machine)
    history = database_digest(machine)
    install(machine, package)
    listed = command(machine, "list-nodes")
    came_back = is_active(machine)
    machine.run("apt-get", "purge", "-y", COLLECTOR)

    assert not was_active
    assert history
    assert not any(each.startswith(("opt", "lib", "usr")) for each in removed)
    assert listed.startswith("fra-17 fra added ")
    assert came_back
    assert files(machine) == before


def database_digest(machine: Container) -> str:
    path = Path(f"{machine.root}/var/lib/private/trafficd/collector.db")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_node_and_a_collector_on_one_host_are_removed_one_without_the_other(
    machine: Container, package: Package
) -> None:
    before = files(machine)
    fit_to_this_host(machine)
    node_package = packages_of_this_tree()[NODE]
    install(machine, node_package)
    install(machine, package)
    node = InstalledNode(machine)
    node.systemctl("enable", "--now", "trafficd.target")
    add_node(machine)

    machine.run("apt-get", "purge", "-y", NODE)
    without_node = (is_active(machine), command(machine, "list-nodes"))
    install(machine, node_package)
    node.systemctl("enable", "--now", "trafficd.target")
    node.until_active("trafficd-exporter.service")
    machine.run("apt-get", "purge", "-y", COLLECTOR)
    without_collector = node.is_active("trafficd-exporter.service")
    kept = (machine.root / "etc/trafficd/agent.yml").exists()
    machine.run("apt-get", "purge", "-y", NODE)

    assert without_node[0]
    assert without_node[1].startswith("fra-17 fra added ")
    assert without_collector
    assert kept
    assert files(machine) == before


def test_it_is_installed_and_purged_where_systemd_does_not_run(
    machine: Container, package: Package
) -> None:
    before = files(machine)
    machine.write("/var/tmp/collector.deb", package.content)

    # As in a chroot: nothing of the running systemd is to be seen.
    script = f"""
    mount -t tmpfs tmpfs /run
    dpkg --install /var/tmp/collector.deb
    systemctl is-enabled {UNIT}
    dpkg --remove {COLLECTOR}
    dpkg --purge {COLLECTOR}
    """
    done = machine.run("unshare", "--mount", "sh", "-ec", script)

    machine.run("rm", "/var/tmp/collector.deb")
    assert "\nenabled\n" in done.stdout
    assert files(machine) == before

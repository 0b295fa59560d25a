"""The units under a real systemd: what starts, what stops, and what a fault makes of them."""

import re
import time
from collections.abc import Iterator
from itertools import chain

import pytest

from tests.system.container import Container, debian_container
from tests.system.debian_packages import ROOT
from tests.system.node import CONFIG, EVENTS, EXPORTER, READER, SOCKETS, STATE, TARGET, Node
from tests.system.vpn.certificates import new_identity

COLLECTOR = "trafficd-collector.service"
CONNECT = """
import socket, sys
kind = socket.SOCK_SEQPACKET if sys.argv[1].endswith("releases") else socket.SOCK_DGRAM
socket.socket(socket.AF_UNIX, kind).connect(sys.argv[1])
"""
# As a version with another filter leaves them: all that comes passes (BPF_RET), and the lock is on
# (SO_ATTACH_FILTER, SO_LOCK_FILTER).
LOCK_SOCKETS = """
import ctypes, os, socket, struct
for number in range(int(os.environ["LISTEN_FDS"])):
    handed = socket.socket(fileno=3 + number)
    if handed.family == socket.AF_NETLINK:
        program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7FFFFFFF))
        handed.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 1, ctypes.addressof(program)))
        handed.setsockopt(socket.SOL_SOCKET, 44, 1)
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Container]:
    with debian_container() as container:
        container.install_trafficd()
        yield container


@pytest.fixture
def node(machine: Container) -> Iterator[Node]:
    """A node that was installed and never started."""
    node = Node(machine)
    node.configure("")
    yield node
    node.clean()


def test_the_halves_are_as_closed_as_is_asked_and_no_unit_has_a_mistake(node: Node) -> None:
    units = [each.name for each in (ROOT / "systemd").iterdir() if "@" not in each.name]

    verified = node.machine.run("systemd-analyze", "verify", *units).stderr

    assert verified == ""
    assert exposure(node, READER) <= 0.3
    assert exposure(node, EXPORTER) <= 1.2
    assert exposure(node, COLLECTOR) <= 1.5


def test_a_collector_without_a_configuration_says_so_once_and_is_not_started_again(
    node: Node,
) -> None:
    refused = node.systemctl("start", COLLECTOR, check=False)

    assert refused != 0
    assert node.show(COLLECTOR, "ActiveState") == "failed"
    assert node.show(COLLECTOR, "ExecMainStatus") == "78"
    assert node.journal(COLLECTOR).count("/etc/trafficd/collector.yml is not there") == 1


def test_one_command_starts_a_node_which_says_what_it_does_and_another_stops_all(
    node: Node,
) -> None:
    node.systemctl("enable", "--now", TARGET)
    node.until_active(READER, EXPORTER)
    status = node.show(READER, "StatusText")
    page = node.page()
    failed = node.machine.run("systemctl", "--failed", "--no-legend").stdout
    node.systemctl("stop", TARGET)
    node.machine.until(lambda: not units_there(node), 20, "the end of all units")

    assert re.fullmatch(r"window 1h, next grid point \S+ \d\d:00 UTC", status)
    assert "trafficd_build_info" in page
    assert failed == ""
    assert list((node.machine.root / "run/trafficd").iterdir()) == []


def test_a_machine_that_starts_anew_has_its_node_back_with_a_new_run_of_totals() -> None:
    with debian_container() as machine:
        machine.install_trafficd()
        Node(machine).systemctl("enable", "--now", TARGET)
        machine.reboot()
        node = Node(machine)

        node.until_active(READER, EXPORTER)
        assert "no state of this boot" in machine.journal(f"--unit={READER}")


def test_the_state_is_the_readers_alone_and_outlives_all_that_becomes_of_the_unit(
    node: Node,
) -> None:
    node.start()
    modes = node.machine.run("stat", "--format=%a", STATE, f"{STATE}/state").stdout.split()
    stop = ("systemctl", "stop", TARGET, READER)
    changes: dict[str, list[tuple[str, ...]]] = {
        "the unit starts again": [("systemctl", "restart", READER)],
        "units are read anew": [("systemctl", "daemon-reload"), ("systemctl", "restart", READER)],
        "all stops": [stop, ("systemctl", "start", TARGET)],
        "systemd starts again": [
            ("systemctl", "daemon-reexec"),
            ("systemctl", "restart", READER),
        ],
        "the dynamic user becomes another": [
            stop,
            ("chown", "--recursive", "65000:65000", STATE),
            ("systemctl", "start", TARGET),
        ],
    }

    for command in chain.from_iterable(changes.values()):
        node.machine.run(*command)
    node.until_active(READER)

    began = re.findall(r"(?m)^reader: (no state|going on with)", node.journal(READER))
    assert modes == ["700", "600"]
    assert began == ["no state", *["going on with"] * len(changes)]


def test_the_netlink_sockets_are_the_same_after_a_restart_a_crash_and_a_new_systemd(
    node: Node,
) -> None:
    node.start()
    before = node.netlink_sockets()
    killed = node.process(READER)
    node.systemctl("kill", "--signal=KILL", READER)
    node.next_process(READER, killed)
    node.systemctl("daemon-reexec")
    node.systemctl("restart", READER)

    assert node.netlink_sockets() == before
    assert len(before) == 2


def test_a_reader_that_is_killed_comes_back_with_the_exporter_and_neither_meets_a_limit(
    node: Node,
) -> None:
    node.start()
    for _ in range(4):
        killed = node.process(READER)
        node.machine.run("kill", "-KILL", killed)
        node.next_process(READER, killed)

    node.until_active(READER, EXPORTER)
    assert "trafficd_build_info" in node.page()
    assert node.show(READER, "StartLimitIntervalUSec") == "0"
    assert node.show(EXPORTER, "StartLimitIntervalUSec") == "0"


def test_a_reader_that_hangs_is_ended_and_another_started(node: Node) -> None:
    node.change(READER, "WatchdogSec=2\n")
    node.start()
    hung = node.process(READER)

    node.machine.run("kill", "-STOP", hung)
    node.next_process(READER, hung)

    node.until_active(READER)
    assert "Watchdog timeout" in node.journal(READER)


@pytest.mark.parametrize(
    ("end", "starts", "least_seconds"),
    [("exit 1", 4, 3), ("exit 0", 4, 3), ("kill -9 $$$$", 4, 3), ("exit 78", 2, 10)],
)
def test_neither_a_crash_loop_nor_a_refusal_keeps_systemd_busy_or_closes_the_socket(
    node: Node, end: str, starts: int, least_seconds: float
) -> None:
    command = f"ExecStart=\nExecStart=/bin/sh -c 'echo BEGUN; {end}'\n"
    node.change(READER, f"Type=exec\n{command}")
    node.systemctl("start", EVENTS)
    opened = node.show(EVENTS, "ActiveEnterTimestampMonotonic")
    began_at, worked = time.monotonic(), node.seconds_of_systemd()

    # From here on the socket is readable, and nobody reads.
    node.link_comes_and_goes()
    node.machine.until(
        lambda: node.journal(READER).split().count("BEGUN") >= starts, 40, f"{starts} starts"
    )
    took = time.monotonic() - began_at

    assert took > least_seconds
    assert node.seconds_of_systemd() - worked < 0.1 * took
    assert node.is_active(EVENTS)
    assert node.show(EVENTS, "ActiveEnterTimestampMonotonic") == opened


def test_a_reader_that_was_stopped_by_hand_is_back_with_the_next_link_event(node: Node) -> None:
    node.start()
    node.systemctl("stop", READER)
    was_stopped = not node.is_active(READER)

    node.link_comes_and_goes()

    node.until_active(READER)
    assert was_stopped


def test_sockets_with_another_versions_filter_are_renewed_once_and_the_reader_goes_on(
    node: Node,
) -> None:
    node.machine.write("/usr/local/lib/lock.py", LOCK_SOCKETS)
    command = "ExecStart=\nExecStart=/usr/bin/python3 /usr/local/lib/lock.py\n"
    node.change(READER, f"Type=oneshot\nRestart=no\n{command}")
    node.systemctl("start", READER)
    node.change_back()
    opened = node.show(EVENTS, "ActiveEnterTimestampMonotonic")

    node.systemctl("start", TARGET)

    node.machine.until(
        lambda: node.show(EVENTS, "ActiveEnterTimestampMonotonic") != opened, 30, "a new socket"
    )
    node.until_active(READER, EXPORTER)
    assert node.machine.run("systemctl", "list-jobs", "--quiet").stdout == ""
    assert node.journal(READER).count("status=75") == 1
    assert node.journal(EVENTS).count("Listening on") == 2


def test_without_a_configuration_the_reader_refuses_and_starts_when_there_is_one(
    node: Node,
) -> None:
    node.machine.run("rm", CONFIG)
    refused = node.systemctl("start", READER, check=False)
    result = node.show(READER, "ExecMainStatus")
    node.configure("")
    node.systemctl("start", READER)

    assert refused == 1
    assert result == "78"
    assert f"{CONFIG} is not there: unknown key" in node.journal(READER)
    assert node.is_active(READER)


@pytest.mark.parametrize("damage", ["echo 'window: 5s' >", "rm"])
def test_with_a_configuration_gone_bad_the_reader_goes_on_and_says_so(
    node: Node, damage: str
) -> None:
    node.start()

    node.machine.run("sh", "-c", f"{damage} {CONFIG}")
    node.systemctl("restart", READER)

    status = node.show(READER, "StatusText")
    assert "configuration refused, going on with the last good one" in status


def test_a_reload_reaches_both_halves_and_a_mistake_neither(node: Node) -> None:
    node.start()
    processes = [node.process(each) for each in (READER, EXPORTER)]
    node.configure("links: [{name: 'tun*', class: brandnew, population: shared}]\n")
    node.systemctl("reload", READER)
    node.machine.until(lambda: "link rules reread" in node.journal(READER), 20, "the new rules")
    node.configure("window: 5s\n")
    refused = node.systemctl("reload", READER, check=False)

    assert node.journal(EXPORTER).count(f"Reloaded {EXPORTER}") == 1
    assert refused != 0
    assert "window: 5s: at least 5m" in node.journal(READER)
    assert [node.process(each) for each in (READER, EXPORTER)] == processes


def test_keys_that_only_root_can_read_serve_metrics_and_without_them_nobody_is_served(
    node: Node,
) -> None:
    keys = new_identity("node")
    place = "/run/credentials/trafficd-exporter.service/web.yml"
    node.configure(f"metrics: {{web_config: {place}}}\n")
    node.systemctl("start", READER)
    refused = node.systemctl("start", EXPORTER, check=False)
    node.machine.write("/etc/trafficd/tls/server.crt", keys.certificate, 0o600)
    node.machine.write("/etc/trafficd/tls/server.key", keys.key, 0o600)
    named = "tls_server_config: {cert_file: tls_server.crt, key_file: tls_server.key}\n"
    node.machine.write("/etc/trafficd/web.yml", named, 0o600)
    node.start()

    assert refused != 0
    assert "/etc/trafficd/web.yml is not there: unknown key" in node.journal(EXPORTER)
    assert "trafficd_build_info" in node.page("https")


def test_a_namespace_is_read_once_its_socket_is_enabled_and_the_reader_restarted(
    node: Node,
) -> None:
    node.start()
    node.machine.run("ip", "netns", "add", "blue")
    node.configure("namespaces: [blue]\n")
    node.systemctl("enable", "trafficd-reader@blue.socket", "trafficd-reader@absent.socket")

    node.systemctl("restart", READER)

    there = node.netlink_sockets("/run/netns/blue")
    node.systemctl("disable", "trafficd-reader@blue.socket", "trafficd-reader@absent.socket")
    node.machine.run("ip", "netns", "del", "blue")
    assert len(there) == len(node.netlink_sockets()) == 2


@pytest.mark.parametrize(
    ("path", "group", "may"),
    [
        ("releases", "nogroup", False),
        ("releases", "trafficd", True),
        ("reader.reload", "trafficd", False),
        ("exporter.reload", "trafficd", False),
        ("reader.reload", "root", False),
    ],
)
def test_only_the_exporters_group_reaches_the_releases_and_only_root_the_configurations(
    node: Node, path: str, group: str, may: bool
) -> None:
    node.systemctl("start", *SOCKETS)
    somebody = ("setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups")
    command = ("python3", "-c", CONNECT, f"/run/trafficd/{path}")

    tried = node.machine.run(*somebody, *command, check=False)

    assert (tried.returncode == 0) is may, tried.stderr
    assert may or "PermissionError" in tried.stderr


def test_the_reader_runs_without_network_capability_privilege_or_core(node: Node) -> None:
    node.start()
    process = node.process(READER)
    shown = node.machine.run("cat", f"/proc/{process}/status").stdout
    status = dict(line.split(":", 1) for line in shown.splitlines())
    limits = node.machine.run("cat", f"/proc/{process}/limits").stdout
    links = node.machine.run("nsenter", f"--target={process}", "--net", "ip", "-brief", "link")

    # systemd.exec(5): the range of dynamic users.
    assert 61184 <= int(status["Uid"].split()[0]) <= 65519
    assert {int(status[f"Cap{each}"], 16) for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert re.search(r"Max core file size +0 +0", limits)
    assert [line.split()[0] for line in links.stdout.splitlines()] == ["lo"]


def exposure(node: Node, unit: str) -> float:
    """Return what systemd-analyze makes of the unit's file, of 10."""
    file = f"/etc/systemd/system/{unit}"
    said = node.machine.run("systemd-analyze", "security", "--offline=true", file).stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


def units_there(node: Node) -> list[str]:
    """Return the units of the node that are not wholly stopped."""
    states = "--state=active,activating,deactivating,reloading"
    command = ("systemctl", "list-units", states, "--no-legend", "--plain", "trafficd*")
    return node.machine.run(*command).stdout.splitlines()

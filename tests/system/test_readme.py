"""The README's ways to the totals, executed as they stand there, until totals arrive.

All of it is on one machine, which has the names that the README uses. The node's clock alone is
another one: an hour takes seconds on it, and it begins some weeks ago, so that what receives can
have the true time.
"""

import json
import re
import time
import urllib.parse
from collections.abc import Iterator
from itertools import count

import pytest

from tests.lab import open_and_close_sessions
from tests.system.container import Container, debian_container
from tests.system.deb import COLLECTOR, NODE, fit_to_this_host, packages_of_this_tree
from tests.system.debian_packages import ROOT
from tests.system.readme import blocks
from tests.system.vpn.certificates import new_identity

MIB = 1 << 20
HOUR, DAY = 3600, 24 * 3600
# 2.5 s for an hour.
SPEED = 1440.0
BEGAN_DAYS_AGO = 20
HOSTS = ("fra-17", "prometheus", "victoria", "traffic")
PACKAGES = ("adduser", "apt", "prometheus", "victoria-metrics")
NAME = "trafficd_tunnel_receive_bytes_total"
CLOCK = "/usr/local/lib/trafficd_on_a_fast_clock.py"
ON_A_FAST_CLOCK = """
import sys
import trafficd.clock
from trafficd.demo.clock import FastClock

clock = FastClock(*map(float, sys.argv[1:4]))
# Before a command takes it from there.
trafficd.clock.SystemClock = lambda: clock
del sys.argv[1:4]
from trafficd.cli import main

sys.exit(main())
"""
COMMANDS = {
    "reader": "--config %d/agent.yml --state %t/trafficd-reader/state",
    "exporter": "--config %d/agent.yml --releases %t/trafficd/releases",
}
GET = """
import ssl, sys, urllib.request
authorities = ssl.create_default_context(cafile=sys.argv[2] or None)
with urllib.request.urlopen(sys.argv[1], timeout=20, context=authorities) as answer:
    print(answer.read().decode())
"""


class Stage:
    """The machine with a node on it, and what its sessions moved."""

    def __init__(self, machine: Container) -> None:
        self.machine = machine
        self.moved = 0
        self._batches = count()

    def execute(self, block: str) -> str:
        """Run a block as its reader does, where the packages lie."""
        return self.machine.run("sh", "-euc", f"cd /var/tmp\n{block}", seconds=120).stdout

    def sessions(self) -> None:
        """Let some come, receive five MiB together, and go."""
        network = f"/proc/{self.machine.leader}/ns/net"
        open_and_close_sessions(network, [MIB] * 5, prefix=f"tun{next(self._batches)}-")
        self.moved += 5 * MIB

    def get(self, url: str, authorities: str = "") -> str:
        """Return what is there, or nothing if nobody answers."""
        return self.machine.run("python3", "-c", GET, url, authorities, check=False).stdout

    def until_arrived(self, source: str, port: int) -> None:
        """Wait until the engine at *port* has all that moved, from the node that the README names.

        *source* is what tells the way that it came.
        """
        wanted = f'last_over_time({NAME}{{node="fra-17",location="fra",{source}}}[31d])'
        query = urllib.parse.quote(wanted)
        url = f"http://127.0.0.1:{port}/api/v1/query?query={query}"

        def has_arrived() -> bool:
            found = json.loads(self.get(url) or '{"data": {"result": []}}')["data"]["result"]
            return [float(each["value"][1]) for each in found] == [self.moved]

        self.machine.until(has_arrived, 90, f"{self.moved} bytes at port {port}")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A node, installed and started as the README says."""
    packages = packages_of_this_tree()
    with debian_container(packages=PACKAGES) as machine:
        machine.run("rm", "-rf", "/opt/trafficd")
        names = "".join(f"127.0.0.1 {each}.example.net\n" for each in HOSTS)
        machine.write("/etc/hosts", f"127.0.0.1 localhost\n{names}")
        for name in (NODE, COLLECTOR):
            machine.write(f"/var/tmp/{packages[name].file_name}", packages[name].content)
        fit_to_this_host(machine)
        run_on_a_fast_clock(machine, packages[NODE].version)
        stage = Stage(machine)
        (install, _) = blocks("## A first real node", "`trafficd links` shows")
        shown = stage.execute(install)
        assert "lo" in shown
        yield stage


def run_on_a_fast_clock(machine: Container, version: str) -> None:
    machine.write(CLOCK, ON_A_FAST_CLOCK)
    began = time.time() // HOUR * HOUR - BEGAN_DAYS_AGO * DAY
    clock = f"{began} {time.clock_gettime(time.CLOCK_BOOTTIME)} {SPEED}"
    for half, words in COMMANDS.items():
        command = f"/opt/trafficd/{version}/bin/python3 {CLOCK} {clock} {half} {words}"
        machine.write(
            f"/run/systemd/system/trafficd-{half}.service.d/fast-clock.conf",
            f"[Service]\nExecStart=\nExecStart={command}\n",
        )


@pytest.fixture
def node(stage: Stage) -> Stage:
    """The node with the configuration that it was installed with."""
    stage.machine.write("/etc/trafficd/agent.yml", (ROOT / "config/agent.yml").read_bytes())
    return stage


def test_totals_are_scraped_from_a_node_as_the_readme_says(node: Stage) -> None:
    on_node, of_prometheus = blocks("**Scrape only.**", "**Push to an engine")

    node.execute(on_node)
    node.machine.write("/etc/prometheus/prometheus.yml", of_prometheus)
    node.machine.run("promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    node.machine.run("systemctl", "restart", "prometheus")
    node.sessions()

    node.until_arrived('job="trafficd"', 9090)


def test_totals_are_pushed_to_engines_as_the_readme_says(node: Stage) -> None:
    on_node, *engines = blocks("**Push to an engine", "**A collector of your own**")
    assert len(engines) == 2

    for block in engines:
        node.execute(block)
    node.execute(on_node)
    node.sessions()

    for port in (9090, 8428):
        node.until_arrived('job=""', port)


def test_alerts_are_loaded_as_the_readme_says(node: Stage) -> None:
    (block,) = blocks("### Alerts and dashboards", "### What to expect")
    for file in (ROOT / "config/prometheus").iterdir():
        node.machine.write(f"/var/tmp/config/prometheus/{file.name}", file.read_bytes())

    said = node.execute(block)

    url = "http://127.0.0.1:9090/api/v1/rules?type=alert"
    node.machine.until(lambda: "TrafficdNodeLate" in node.get(url), 60, "the alerts")
    assert "FAILED" not in said


def test_totals_are_pushed_to_a_collector_as_the_readme_says(node: Stage) -> None:
    central, on_node, _ = blocks("**A collector of your own**", "### Alerts and dashboards")
    keys = new_identity("traffic.example.net")
    node.machine.write("/etc/trafficd/collector-tls/server.crt", keys.certificate, 0o600)
    node.machine.write("/etc/trafficd/collector-tls/server.key", keys.key, 0o600)

    token = node.execute(central).split()[-1]
    node.machine.write("/etc/trafficd/push/token", token, 0o600)
    node.machine.write("/etc/trafficd/push/ca.crt", keys.certificate)
    node.execute(on_node)
    node.sessions()

    name = NAME.replace("trafficd_", "trafficd_location_")
    wanted = re.compile(rf'(?m)^{name}\{{location="fra"\}} {node.moved}$')
    url = "https://traffic.example.net:9788/metrics"
    node.machine.until(
        lambda: wanted.search(node.get(url, "/etc/trafficd/push/ca.crt")),
        60,
        f"{node.moved} bytes in the collector",
    )

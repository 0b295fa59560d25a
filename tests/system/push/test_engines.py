"""A day of releases pushed to Prometheus, VictoriaMetrics and our collector at once.

The node has a clock on which an hour takes seconds, and lies in the past, so that what receives can
have the true one. Each receiver is away for six hours of it, and the node begins anew in between.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.lab import open_and_close_sessions
from tests.system.container import Container, debian_container
from trafficd.demo.clock import FastClock

HOUR = 3600
# 2.5 s for an hour.
SPEED = 1440.0
MIB = 1 << 20
NODE, LOCATION = "fra-17", "frankfurt"
NAME = "trafficd_tunnel_receive_bytes_total"
UNITS = {
    "prometheus": "prometheus.service",
    "victoria": "victoria-metrics.service",
    "collector": "trafficd-collector.service",
}
PORTS = {"prometheus": 9090, "victoria": 8428, "collector": 9788}
PROMETHEUS = """
global: {scrape_interval: 1h}
storage: {tsdb: {out_of_order_time_window: 48h}}
"""
GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode())"
CONFIGURATION = """
node: {{name: {node}, location: {location}}}
window: 1h
links: [{{name: "tun*", class: openvpn, population: shared}}]
metrics: {{listen: ["127.0.0.1:9787"]}}
push:
  - {{name: prometheus, url: "http://127.0.0.1:9090/api/v1/write"}}
  - {{name: victoria, url: "http://127.0.0.1:8428/api/v1/write"}}
  - name: collector
    url: http://127.0.0.1:9788/api/v1/write
    bearer_token_file: {token}
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Container]:
    packages = ("prometheus", "victoria-metrics")
    with debian_container(packages=packages, requirements="collector.txt") as container:
        container.write("/etc/prometheus/prometheus.yml", PROMETHEUS)
        container.write(
            "/etc/default/prometheus",
            "ARGS='--web.enable-remote-write-receiver'",
        )
        container.write(
            "/etc/default/victoria-metrics",
            "ARGS='-storageDataPath=/var/lib/victoria-metrics -dedup.minScrapeInterval=1ms"
            " -retentionPeriod=1y'",
        )
        container.install_trafficd()
        container.write("/etc/trafficd/collector.yml", "")
        for unit in UNITS.values():
            container.run("systemctl", "restart", unit)
        for name in PORTS:
            container.until(lambda name=name: is_up(container, name), 60, name)  # type: ignore[misc]
        yield container


def is_up(machine: Container, name: str) -> bool:
    path = {"prometheus": "-/ready", "victoria": "health", "collector": "healthz"}[name]
    return get(machine, f"http://127.0.0.1:{PORTS[name]}/{path}", check=False) is not None


def get(machine: Container, url: str, *, check: bool = True) -> str | None:
    done = machine.run("python3", "-c", GET, url, check=check)
    return done.stdout if done.returncode == 0 else None


class FastNode:
    """The node, what its sessions moved, and what it shows."""

    def __init__(self, machine: Container, folder: Path, clock: FastClock) -> None:
        self._machine = machine
        self._folder = folder
        self.clock = clock
        self._network = f"/proc/{machine.leader}/ns/net"
        self._halves: dict[str, subprocess.Popen[bytes]] = {}
        self._batches = count()
        self.moved = self.moved_in_this_run = 0

    def start(self) -> None:
        self.moved_in_this_run = 0
        self.start_half("reader")
        self.start_half("exporter")

    def start_half(self, half: str) -> None:
        socket = self._folder / "releases"
        words = (self.clock.utc_start, self.clock.boot_start, self.clock.speed)
        if half == "reader":
            socket.unlink(missing_ok=True)
        self._halves[half] = subprocess.Popen(
            [
                *("nsenter", f"--net={self._network}", sys.executable, "-m"),
                *("tests.system.push.fast_node", half, self._folder / "agent.yml", socket),
                *map(str, words),
            ]
        )
        if half == "reader":
            until(socket.exists, 30, "the reader's socket")
        else:
            until(lambda: bool(self.page()), 30, "the exporter's page")

    def stop(self, *halves: str) -> None:
        for half in halves:
            process = self._halves.pop(half, None)
            if process is not None:
                process.send_signal(signal.SIGTERM)
                process.wait(20)

    def sessions(self) -> None:
        """Let some come, receive five MiB together, and go."""
        sizes = [MIB] * 5
        open_and_close_sessions(self._network, sizes, prefix=f"tun{next(self._batches)}-")
        self.moved += sum(sizes)
        self.moved_in_this_run += sum(sizes)

    def for_hours(self, hours: int) -> None:
        """Let time pass, with sessions in each hour."""
        for _ in range(hours):
            hour = self.clock.now().utc_seconds // HOUR
            self.sessions()
            until(lambda hour=hour: self.clock.now().utc_seconds // HOUR > hour, 20, "an hour")  # type: ignore[misc]

    def page(self) -> str:
        return get(self._machine, "http://127.0.0.1:9787/metrics", check=False) or ""

    def shows(self) -> int:
        found = re.search(rf"(?m)^{NAME} (\S+)$", self.page())
        return int(float(found[1])) if found else -1

    def pending(self) -> float:
        """Return how many releases destinations have not taken yet, as of the last one."""
        found = re.findall(r"(?m)^trafficd_push_pending\w*\{.*\} (\S+)$", self.page())
        assert len(found) == len(UNITS)
        return sum(map(float, found))

    def last_release(self) -> int:
        found = re.search(r"(?m)^trafficd_release_timestamp_seconds (\S+)$", self.page())
        return int(float(found[1])) if found else 0

    def until_released(self) -> int:
        """Wait until all that moved is released and pushed; return the time of the release."""
        until(lambda: self.shows() == self.moved_in_this_run, 60, "the release of all that moved")
        at = self.last_release()
        until(lambda: self.last_release() > at and self.pending() == 0, 60, "all pushed")
        return self.last_release()


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def token(machine: Container) -> str:
    said = machine.run(
        *("/opt/trafficd/bin/trafficd", "collector", "--config", "/etc/trafficd/collector.yml"),
        *("add-node", NODE, "--location", LOCATION),
    ).stdout
    return said.split()[-1]


@pytest.fixture
def node(machine: Container, token: str) -> Iterator[FastNode]:
    folder = Path(tempfile.mkdtemp(prefix="trafficd-"))
    (folder / "token").write_text(token)
    (folder / "agent.yml").write_text(
        CONFIGURATION.format(node=NODE, location=LOCATION, token=folder / "token")
    )
    # Whoever the exporter becomes reads the token anew.
    folder.chmod(0o755)
    hour = time.time() // HOUR * HOUR
    boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    made = FastNode(machine, folder, FastClock(hour - 40 * HOUR, boot, SPEED))
    try:
        yield made
    finally:
        made.stop("exporter", "reader")
        shutil.rmtree(folder)


def increase(machine: Container, engine: str, first: int, last: int) -> float:
    """Return what the engine's increase() says the tunnels received over the whole."""
    query = f"sum(increase({NAME}%5B{last - first}s%5D))"
    url = f"http://127.0.0.1:{PORTS[engine]}/api/v1/query?query={query}&time={last}"
    (found,) = json.loads(get(machine, url) or "")["data"]["result"]
    return float(found["value"][1])


def samples(machine: Container, engine: str, first: int, last: int) -> list[list[object]]:
    """Return every sample of the series that an engine holds."""
    query = f"{NAME}%5B{last - first}s%5D"
    url = f"http://127.0.0.1:{PORTS[engine]}/api/v1/query?query={query}&time={last}"
    (found,) = json.loads(get(machine, url) or "")["data"]["result"]
    return list(found["values"])


def in_the_collector(machine: Container) -> float:
    page = get(machine, "http://127.0.0.1:9788/metrics") or ""
    name = NAME.replace("trafficd_", "trafficd_location_")
    found = re.search(rf'(?m)^{name}\{{location="{LOCATION}"\}} (\S+)$', page)
    assert found, page[:2000]
    return float(found[1])


def test_a_day_with_outages_and_a_restart_is_the_same_everywhere_and_is_what_moved(
    machine: Container, node: FastNode
) -> None:
    node.start()
    first = int(node.clock.now().utc_seconds // HOUR * HOUR)
    node.for_hours(2)
    for number, engine in enumerate(UNITS):
        machine.run("systemctl", "stop", UNITS[engine])
        node.for_hours(6)
        machine.run("systemctl", "start", UNITS[engine])
        node.for_hours(1)
        if number == 1:
            node.until_released()
            node.stop("exporter", "reader")
            node.start()
    last = node.until_released()
    assert last - first >= 24 * HOUR

    for engine in ("prometheus", "victoria"):
        values = [float(str(value)) for _, value in samples(machine, engine, first, last)]
        assert sorted(values, reverse=True) != values
        assert increase(machine, engine, *range_of(machine, engine, first, last)) == node.moved
    assert in_the_collector(machine) == node.moved

    before = [samples(machine, each, first, last) for each in ("prometheus", "victoria")]
    node.stop("exporter")
    node.start_half("exporter")
    at = node.last_release()
    until(lambda: node.last_release() > at + HOUR and node.pending() == 0, 60, "all pushed again")
    assert [samples(machine, each, first, last) for each in ("prometheus", "victoria")] == before
    assert in_the_collector(machine) == node.moved


def range_of(machine: Container, engine: str, first: int, last: int) -> tuple[int, int]:
    """Return a range from the first sample to the last, over which nothing is extrapolated."""
    found = samples(machine, engine, first, last)
    begin, end = (int(float(str(found[number][0]))) for number in (0, -1))
    # Prometheus 2 counts a sample at the beginning of a range to it, VictoriaMetrics does not.
    return begin - (HOUR if engine == "victoria" else 0), end


def test_promtool_likes_both_pages(machine: Container, node: FastNode) -> None:
    node.start()
    pages = [node.page(), get(machine, "http://127.0.0.1:9788/metrics") or ""]

    said = [
        machine.run("promtool", "check", "metrics", check=False, stdin=page.encode()).stderr
        for page in pages
    ]

    # A port is sold in bits, and that is what planners are told; all else is as promtool likes it.
    capacity = 'trafficd_uplink_capacity_bits_per_second use base unit "bytes" instead of "bits"'
    assert [each.strip() for each in said] == [capacity, ""]

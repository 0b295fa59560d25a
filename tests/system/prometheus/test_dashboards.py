"""Every query of the dashboards, asked of a real Prometheus that holds a fleet.

What rules record is filled in for the past by promtool, as the README says it is done.
"""

import json
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.container import Container
from tests.system.debian_packages import ROOT
from tests.system.prometheus.conftest import FOLDER
from tests.system.prometheus.fleet import (
    DAY,
    DAYS,
    HOUR,
    LATE,
    NODES,
    SLOTS_AN_HOUR,
    collector,
    histories,
    received,
)
from tests.wire.specification import first_version
from trafficd.wire.remote_write import HEADERS, Protocol, stored_block

DATA = "/var/lib/prometheus/metrics2"
URL = "http://127.0.0.1:9090"
POST = """
import json, sys, urllib.request as u
url, headers = sys.argv[1], json.loads(sys.argv[2])
u.urlopen(u.Request(url, sys.stdin.buffer.read(), headers), timeout=50)
"""
GET = """
import json, sys, urllib.error, urllib.request as u
answers = []
for url in json.load(sys.stdin):
    try:
        answers.append(json.load(u.urlopen(url, timeout=50)))
    except urllib.error.HTTPError as error:
        answers.append(json.load(error))
print(json.dumps(answers))
"""
# What is shown by default; only some of it has what is recorded.
SHOWN_DAYS = 90
# promtool(1): so much is the engine's own to record.
NOT_TO_RECORD_HOURS = 3

Json = dict[str, Any]


class Fleet:
    """A Prometheus that holds the fleet, as of *now*: UTC seconds."""

    def __init__(self, machine: Container) -> None:
        self.machine = machine
        self.now = int(time.time())
        self.end = self.now // HOUR * HOUR
        self.begin = self.end // DAY * DAY - DAYS * DAY

    def write(self, message: bytes) -> None:
        headers = json.dumps(dict(HEADERS[Protocol.V1]))
        url = f"{URL}/api/v1/write"
        block = stored_block(message)
        self.machine.run("python3", "-c", POST, url, headers, stdin=block)

    def get(self, urls: list[str]) -> list[Json]:
        asked = json.dumps([f"{URL}{each}" for each in urls]).encode()
        return list(json.loads(self.machine.run("python3", "-c", GET, stdin=asked).stdout))

    def restart(self) -> None:
        self.machine.run("systemctl", "restart", "prometheus")
        self.machine.until(self.is_ready, 60, "Prometheus")

    def is_ready(self) -> bool:
        script = f"import urllib.request as u; u.urlopen('{URL}/-/ready', timeout=5)"
        return self.machine.run("python3", "-c", script, check=False).returncode == 0

    def target_url(self, target: Json, location: str) -> str:
        """Return what Grafana asks for a target: instants, or days that end at midnight."""
        expression = target["expr"].replace("$location", location)
        if target["instant"]:
            asked = {"query": expression, "time": str(self.now)}
            return f"/api/v1/query?{urllib.parse.urlencode(asked)}"
        last = self.now // DAY * DAY
        asked = {
            "query": expression,
            "start": str(last - SHOWN_DAYS * DAY),
            "end": str(last),
            "step": str(DAY),
        }
        return f"/api/v1/query_range?{urllib.parse.urlencode(asked)}"


@pytest.fixture(scope="module")
def fleet(machine: Container) -> Iterator[Fleet]:
    configuration = (ROOT / "config" / "prometheus" / "scrape.yml").read_text()
    assert "evaluation_interval: 1m" in configuration
    configuration = configuration.replace("evaluation_interval: 1m", "evaluation_interval: 2s")
    configuration = configuration.replace("window: 31d", f"window: {DAYS + 10}d")
    machine.write(f"{FOLDER}/prometheus.yml", configuration)
    commits = (ROOT / "config" / "prometheus" / "commits.yml").read_text()
    machine.write(f"{FOLDER}/commits.yml", commits.replace("vector(0)", "vector(1e9)"))
    machine.write("/etc/default/prometheus", "ARGS='--web.enable-remote-write-receiver'")
    made = Fleet(machine)
    made.restart()
    # First what is new: all that is older is out of order then, and stays in memory.
    made.write(first_version(collector(made.now)))
    for history in histories(made.begin, made.end):
        made.write(first_version(history))
    # Without intervals of their own, promtool takes the one that it is told.
    hourly = "/var/tmp/hourly.yml"
    machine.run("sh", "-c", f"sed '/^    interval:/d' {FOLDER}/rules.yml >{hourly}")
    latest = made.now - NOT_TO_RECORD_HOURS * HOUR
    # What is looked back for from now, and from the end of the last day.
    for end in {latest, min(latest, made.now // DAY * DAY)}:
        machine.run(
            *("promtool", "tsdb", "create-blocks-from", "rules", "--quiet", f"--url={URL}"),
            *(f"--start={end - 2 * HOUR}", f"--end={end}", "--eval-interval=1h"),
            *(f"--output-dir={DATA}", hourly, f"{FOLDER}/commits.yml"),
        )
    machine.run("chown", "--recursive", "prometheus:prometheus", DATA)
    made.restart()
    try:
        machine.until(lambda: recorded(made), 30, "what is recorded of each node")
        yield made
    finally:
        machine.run("systemctl", "stop", "prometheus")


def recorded(fleet: Fleet) -> bool:
    # As of now, and so is what the dashboards ask.
    fleet.now = int(time.time())
    (answer,) = fleet.get(["/api/v1/query?query=node:trafficd_release_age_seconds:max"])
    return len(answer["data"]["result"]) == len(NODES)


def targets() -> list[tuple[str, Json, str]]:
    """Return every query with the panel that it is of, and for which location it is asked."""
    return [
        (f"{name}: {panel['title']}: {target['expr']}", target, location)
        for name, location in (("fleet", ".+"), ("location", "fra"))
        for panel in json.loads((ROOT / f"config/grafana/{name}.json").read_text())["panels"]
        for target in panel["targets"]
    ]


def test_no_query_of_a_dashboard_comes_back_empty(fleet: Fleet) -> None:
    asked = targets()

    answers = fleet.get([fleet.target_url(target, place) for _, target, place in asked])

    empty = []
    for (panel, _, _), answer in zip(asked, answers, strict=True):
        assert answer["status"] == "success", f"{panel}: {answer}"
        values = [
            value
            for each in answer["data"]["result"]
            for _, value in each.get("values", [each.get("value")])
        ]
        if not values or set(values) == {"NaN"}:
            empty.append(panel)
    assert empty == []


def test_a_day_on_the_dashboard_is_what_its_nodes_moved(fleet: Fleet) -> None:
    hours = (fleet.end - fleet.begin) // HOUR
    last = fleet.now // DAY * DAY
    day = slice((last - fleet.begin) // HOUR - 24, (last - fleet.begin) // HOUR)
    wanted = {
        node: sum(received(busy, hours)[day]) for node, location, busy in NODES if location == "fra"
    }
    expressions = {
        panel: target
        for panel, target, _ in targets()
        if panel.startswith(("location: Mean by node", "location: Slots by utilisation, receive"))
    }

    means, buckets = fleet.get([fleet.target_url(each, "fra") for each in expressions.values()])

    found = {each["metric"]["node"]: each["values"][-1] for each in means["data"]["result"]}
    assert {node: at for node, (at, _) in found.items()} == dict.fromkeys(wanted, last)
    assert {node: float(value) * 86400 / 8 for node, (_, value) in found.items()} == pytest.approx(
        wanted
    )
    (every,) = (each for each in buckets["data"]["result"] if each["metric"]["le"] == "+Inf")
    assert [float(value) for _, value in every["values"]] == [SLOTS_AN_HOUR * 24 * len(wanted)] * (
        SHOWN_DAYS + 1
    )


def test_alerts_are_raised_in_words_that_are_whole(fleet: Fleet) -> None:
    wanted = {
        "TrafficdAuditFailing",
        "TrafficdAuditStale",
        "TrafficdCollectorFull",
        "TrafficdCollectorRefuses",
        "TrafficdCommitExceeded",
        "TrafficdLocationFull",
        "TrafficdNodeLate",
        "TrafficdOrderOverdue",
        "TrafficdOrderSoon",
        "TrafficdPushBehind",
        "TrafficdPushDropped",
        "TrafficdReaderFault",
    }

    def raised() -> list[Json] | None:
        (answer,) = fleet.get(["/api/v1/alerts"])
        found: list[Json] = answer["data"]["alerts"]
        return found if {each["labels"]["alertname"] for each in found} >= wanted else None

    alerts = fleet.machine.until(raised, 20, "alerts")

    said = {
        each["labels"]["alertname"]: each["annotations"]["summary"]
        for each in alerts
        if each["labels"]["alertname"] in wanted
    }
    for alert in alerts:
        for text in alert["annotations"].values():
            assert "{{" not in text
            assert "<" not in text
            assert "  " not in text.replace("\n", " ")
    assert said["TrafficdNodeLate"].startswith(f"No traffic totals from node {LATE} for 5h ")
    assert said["TrafficdOrderSoon"].startswith("Order capacity for fra within 4d 23h ")
    assert said["TrafficdCommitExceeded"] == "p95 at fra is above the commit: 1.9Gbit/s"

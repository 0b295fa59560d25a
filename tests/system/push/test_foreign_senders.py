"""Senders that others wrote, into our collector: all they say of section 6 is there afterwards.

What else they say is refused, with a reason that stands in their own log or in the answer they got,
and holds up nothing that is right.
"""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.system.push.central import LOCATION, PUSH_URL, get
from tests.system.push.foreign_scene import (
    PAGES,
    Scene,
    foreign_scene,
    page,
    pushed,
    releases_to,
    scraped,
    stamped,
    written_out,
)
from tests.system.push.otel import Point, Sender, exported, opentelemetry
from trafficd.collector.ingest import AHEAD_SECONDS
from trafficd.releases import Release
from trafficd.schema import MINIMUM_WINDOW_SECONDS
from trafficd.series import series_of

PROMETHEUS, VMAGENT = "http://127.0.0.1:9090", "http://127.0.0.1:8429"
ARRIVAL_SECONDS = 30
# A grid point as near as this could pass before Prometheus has read it.
MARGIN_SECONDS = 20
OFF_THE_GRID = "off the grid: releases are of UTC instants that are multiples of 5 minutes"


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with foreign_scene() as made:
        yield made


def assert_shown(scene: Scene, node: str, newest: Release) -> None:
    """Assert that the page of the fleet has the totals of *newest*."""
    shown = scene.central.shown(node)
    wanted = {str(each): value for each, value in series_of(newest) if "_bytes_" in each.name}
    assert {name: value for name, value in shown.items() if "_bytes_" in name} == wanted
    assert shown["trafficd_node_last_release_timestamp_seconds"] == newest.at


def until_there(scene: Scene, nodes: Sequence[str], releases: Sequence[Release]) -> None:
    """Return when of each of *nodes* all that was scraped is there, and nothing else."""
    wanted = {each.at: scraped(each) for each in releases}

    def is_there() -> bool:
        return all(found == wanted for found in scene.central.histories(nodes).values())

    scene.until(ARRIVAL_SECONDS, f"{len(wanted)} whole releases", is_there)


def wait_for_the_clock(scene: Scene, at: float) -> None:
    scene.until(MARGIN_SECONDS, "a later time", lambda: time.time() > at)


# ---- Prometheus ----

SCRAPE_BY_PROMETHEUS = """
  - job_name: {job}
    scrape_interval: 1s
    metrics_path: /{job}.txt
    static_configs: [{{targets: ["{pages}"], labels: {{node: {job}, location: {location}}}}}]
"""
WRITE_OF_PROMETHEUS = """
  - name: {job}
    url: {url}
    authorization: {{credentials_file: /etc/prometheus/{job}.token}}
    metadata_config: {{send_interval: 1s}}
    queue_config: {{batch_send_deadline: 100ms}}
"""
# All that it takes to send section 6 of one node, and nothing else.
RELABEL_IN_PROMETHEUS = """
    write_relabel_configs:
      - {{source_labels: [node, __name__], regex: "{job};trafficd_.*", action: keep}}
      - {{regex: "job|instance", action: labeldrop}}
"""
REFUSED_OF_PROMETHEUS = {
    "timeless": OFF_THE_GRID,
    "elsewhere": f"label location: 'atlantis': this credential is for {LOCATION}",
    # What there is of other nodes, and what Prometheus says itself.
    "unrelabelled": "label 'instance': not one of this metric|this credential is for unrelabelled",
}


def start_prometheus(scene: Scene, *nodes: str) -> None:
    scrapes, writes = "scrape_configs:", "remote_write:"
    for job, token in scene.central.add_nodes(*nodes, *REFUSED_OF_PROMETHEUS).items():
        location = "atlantis" if job == "elsewhere" else LOCATION
        scrapes += SCRAPE_BY_PROMETHEUS.format(job=job, pages=PAGES, location=location)
        writes += WRITE_OF_PROMETHEUS.format(job=job, url=PUSH_URL)
        if job != "unrelabelled":
            writes += RELABEL_IN_PROMETHEUS.format(job=job)
        scene.machine.write(f"/etc/prometheus/{job}.token", token)
    scene.machine.write("/etc/prometheus/prometheus.yml", f"{scrapes}\n{writes}\n")
    scene.machine.run("promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    scene.machine.run("systemctl", "start", "prometheus")
    scene.until(60, "Prometheus", lambda: get(scene.machine, f"{PROMETHEUS}/-/ready"))


def test_what_prometheus_scrapes_with_times_arrives_and_all_else_is_refused_with_a_reason(
    scene: Scene,
) -> None:
    nodes = ("fra-17", "fra-18")
    start_prometheus(scene, *nodes)
    # It forwards nothing of a time before its start, and takes nothing 10 minutes ahead.
    second_at = time.time() + MARGIN_SECONDS + 2 * MINIMUM_WINDOW_SECONDS
    releases = releases_to(second_at, 2)

    for number, each in enumerate(releases, 1):
        wait_for_the_clock(scene, each.at - AHEAD_SECONDS)
        for job in (*nodes, "elsewhere", "unrelabelled"):
            scene.show(job, stamped(each))
        scene.show("timeless", page(each))
        until_there(scene, nodes, releases[:number])

    for node in nodes:
        assert_shown(scene, node, releases[-1])
    for job, reason in REFUSED_OF_PROMETHEUS.items():
        scene.until_logged("prometheus", rf"remote_name={job} .*400 Bad Request: .*({reason})")
    refused = scene.central.histories(REFUSED_OF_PROMETHEUS)
    assert refused == {job: {} for job in REFUSED_OF_PROMETHEUS}
    counted = "prometheus_remote_storage_{}_total"
    for job in nodes:
        assert scene.counter(PROMETHEUS, counted.format("samples_failed"), job) == 0
        # Types and helps come in messages of their own, without a sample, and are taken.
        assert scene.counter(PROMETHEUS, counted.format("metadata"), job) > 0
        assert scene.counter(PROMETHEUS, counted.format("metadata_failed"), job) == 0
    for job in REFUSED_OF_PROMETHEUS:
        assert scene.counter(PROMETHEUS, counted.format("samples_failed"), job) > 0
        assert scene.counter(PROMETHEUS, counted.format("samples_retried"), job) == 0
    scene.machine.run("systemctl", "stop", "prometheus")


# ---- vmagent ----

SCRAPED, IMPORTED, UNRELABELLED = "ber-2", "ber-3", "ber-4"
SCRAPE_BY_VMAGENT = f"""
scrape_configs:
  - job_name: nodes
    scrape_interval: 1s
    metrics_path: /scraped.txt
    honor_timestamps: true
    static_configs: [{{targets: ["{PAGES}"], labels: {{node: {SCRAPED}, location: {LOCATION}}}}}]
"""
RELABEL_IN_VMAGENT = """
- {{source_labels: [node, __name__], regex: "{node};trafficd_.*", action: keep}}
- {{regex: "job|instance", action: labeldrop}}
"""
IMPORT = (
    f"{VMAGENT}/api/v1/import/prometheus"
    f"?extra_label=node={IMPORTED}&extra_label=location={LOCATION}"
)
# Compressed, it is read, and so passed on, in one piece.
POST = """
import gzip, sys, urllib.request as u
body = gzip.compress(sys.stdin.buffer.read())
u.urlopen(u.Request(sys.argv[1], body, {"Content-Encoding": "gzip"}), timeout=20)
"""


def start_vmagent(scene: Scene) -> None:
    destinations = []
    for node, token in scene.central.add_nodes(SCRAPED, IMPORTED, UNRELABELLED).items():
        rules = "" if node == UNRELABELLED else RELABEL_IN_VMAGENT.format(node=node)
        scene.machine.write(f"/etc/vmagent/{node}.yml", rules)
        scene.machine.write(f"/etc/vmagent/{node}.token", token)
        destinations += [
            f"-remoteWrite.url={PUSH_URL}",
            f"-remoteWrite.bearerTokenFile=/etc/vmagent/{node}.token",
            f"-remoteWrite.urlRelabelConfig=/etc/vmagent/{node}.yml",
        ]
    scene.machine.write("/etc/vmagent/scrape.yml", SCRAPE_BY_VMAGENT)
    scene.machine.run(
        *("systemd-run", "--unit=vmagent", "vmagent", "-promscrape.config=/etc/vmagent/scrape.yml"),
        *("-httpListenAddr=127.0.0.1:8429", "-remoteWrite.tmpDataPath=/var/tmp/vmagent"),
        # A target that is gone would end in a NaN, which no release is.
        *("-promscrape.noStaleMarkers", "-remoteWrite.queues=2", *destinations),
    )
    scene.until(30, "vmagent", lambda: get(scene.machine, f"{VMAGENT}/health"))


def give_to_vmagent(scene: Scene, release: Release) -> None:
    """Let it scrape and import a release."""
    before = scene.counter(VMAGENT, "vm_promscrape_scrapes_total")
    page = written_out(stamped(release))
    scene.show("scraped", page)
    scene.machine.run("python3", "-c", POST, IMPORT, stdin=page.encode())
    # The first of them may have begun before.
    scene.until(
        ARRIVAL_SECONDS,
        "two scrapes",
        lambda: scene.counter(VMAGENT, "vm_promscrape_scrapes_total") >= before + 2,
    )


def until_held_back(scene: Scene, count: int) -> None:
    """Return when so many messages of the imported node have failed for the first time."""
    first_try = r"couldn't send a block .*\"2:secret-url\".* in 2\.000 seconds"
    scene.until(
        ARRIVAL_SECONDS, "a failed try", lambda: scene.logged("vmagent", first_try) >= count
    )


def test_vmagent_delivers_older_releases_after_newer_ones_and_all_are_there(scene: Scene) -> None:
    start_vmagent(scene)
    releases = releases_to(time.time(), 5)
    nodes = (SCRAPED, IMPORTED)
    give_to_vmagent(scene, releases[0])
    until_there(scene, nodes, releases[:1])

    with scene.central.away():
        # Each of its two queues for a destination has a release in hand, and tries it again at
        # moments of its own; what follows goes by whichever is free first.
        for number, each in enumerate(releases[1:3], 1):
            give_to_vmagent(scene, each)
            until_held_back(scene, number)
            wait_for_the_clock(scene, time.time() + 1)
        for each in releases[3:]:
            give_to_vmagent(scene, each)

    wanted = [each.at for each in releases]

    def lacks_an_older_one() -> bool:
        there = scene.central.times(IMPORTED)
        return there != wanted[: len(there)]

    scene.until(60, "a release before one that is older", lacks_an_older_one)
    # It tries again after a minute at the latest.
    scene.until(
        90, "all of them", lambda: [scene.central.times(each) for each in nodes] == [wanted] * 2
    )
    until_there(scene, nodes, releases)
    for node in nodes:
        assert_shown(scene, node, releases[-1])
    reason = "not one of this metric|not a metric of trafficd|this credential is for ber-4"
    scene.until_logged("vmagent", rf'"3:secret-url" was rejected.* 400.*({reason})')
    assert scene.central.histories([UNRELABELLED]) == {UNRELABELLED: {}}
    dropped = [
        scene.counter(VMAGENT, "vmagent_remotewrite_packets_dropped_total", f"{url}:secret-url") > 0
        for url in (1, 2, 3)
    ]
    assert dropped == [False, False, True]
    scene.machine.run("systemctl", "stop", "vmagent")


# ---- OpenTelemetry ----

NAME = "trafficd_uplink_receive_bytes_total"
A_COUNTER: Point = ("counter", NAME, "", {}, 7)
AN_ADDRESS: Point = ("counter", "trafficd_class_receive_bytes_total", "", {"class": "192.0.2.7"}, 7)
A_HISTOGRAM: Point = ("histogram", "trafficd_uplink_utilisation_ratio", "", {}, 1)
CAPACITY = "trafficd_uplink_capacity_bits_per_second"


@pytest.fixture(scope="module")
def packages() -> Iterator[Path]:
    with opentelemetry() as folder:
        yield folder


@pytest.fixture
def sender(scene: Scene, packages: Path) -> Sender:
    node = f"otel-{time.monotonic_ns()}"
    return Sender(scene, packages, node, scene.central.add_nodes(node)[node])


def test_what_opentelemetry_sends_in_any_order_and_again_arrives_once(sender: Sender) -> None:
    releases = releases_to(time.time(), 5)

    heard = sender.send(*map(exported, releases), order=[2, 0, 4, 1, 1, 3, 2])

    assert heard == []
    wanted = {sender.node: {each.at: pushed(each) for each in releases}}
    assert sender.scene.central.histories(wanted) == wanted
    assert_shown(sender.scene, sender.node, releases[-1])


@pytest.mark.parametrize(
    ("point", "plan", "reason"),
    [
        (A_COUNTER, {"has_sdk_labels": True}, f"{NAME}: label 'service_instance_id': not one of"),
        (A_COUNTER, {"labels": {"location": LOCATION}}, f"'{NAME}': label node: missing"),
        (
            A_COUNTER,
            {"labels": {"node": "fra-1", "location": LOCATION}},
            f"'{NAME}': label node: 'fra-1': this credential is for otel-",
        ),
        # A name with its unit as OpenTelemetry would have it.
        (("counter", NAME, "By", {}, 7), {}, f"'{NAME}_By': not a metric of trafficd"),
        (A_HISTOGRAM, {}, "'trafficd_uplink_utilisation_ratio': not a metric of trafficd"),
        (AN_ADDRESS, {}, f"{AN_ADDRESS[1]}: label class: '192.0.2.7': write a lower-case word"),
        (("gauge", CAPACITY, "", {}, -1), {}, f"{CAPACITY}: -1.0: not a finite number from 0 on"),
    ],
)
def test_what_else_opentelemetry_sends_is_refused_with_a_reason(
    sender: Sender, point: Point, plan: dict[str, Any], reason: str
) -> None:
    at = releases_to(time.time(), 1)[0].at

    (heard,) = sender.send({"at": at, "points": [point]}, **plan)

    # It logs the status; why, the body says.
    assert "400 Client Error: Bad Request" in heard["logged"]
    assert heard["answer"].startswith(reason)
    assert sender.scene.central.histories([sender.node]) == {sender.node: {}}


def test_what_opentelemetry_stamps_by_its_own_clock_is_off_the_grid(sender: Sender) -> None:
    (heard,) = sender.send({"at": None, "points": [A_COUNTER]})

    assert re.fullmatch(rf"\d+ ms: {OFF_THE_GRID}\n", heard["answer"])
    assert sender.scene.central.histories([sender.node]) == {sender.node: {}}


def test_opentelemetry_with_a_token_of_nobody_is_told_so(sender: Sender) -> None:
    (heard,) = sender.send({"at": None, "points": [A_COUNTER]}, token="nobody")

    assert "401 Client Error: Unauthorized" in heard["logged"]
    assert heard["answer"] == "unknown token\n"

"""Prometheus, VictoriaMetrics and our collector hold the same releases: one same history."""

import pickle
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.planning.alike import assert_same_days, assert_same_windows
from tests.system.container import Container, debian_container
from tests.system.planning.asked import Answers, answers
from tests.system.planning.fleet import DAYS, FLEET
from tests.system.planning.pushing import DAY, HOUR, messages, releases, store
from trafficd.collector.retention import Kept
from trafficd.collector.store import Store
from trafficd.planning.sqlite_history import SqliteHistory

ENGINES = {"prometheus": ("9090", "-/ready"), "victoria-metrics": ("8428", "health")}
PROMETHEUS = """
global: {scrape_interval: 1h}
storage: {tsdb: {out_of_order_time_window: 100d}}
"""
GET = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=20)"


@pytest.fixture(scope="module")
def machine() -> Iterator[Container]:
    packages = ("prometheus", "victoria-metrics")
    with debian_container(packages=packages, requirements="collector.txt") as container:
        container.write("/etc/prometheus/prometheus.yml", PROMETHEUS)
        container.write(
            "/etc/default/prometheus",
            "ARGS='--web.enable-remote-write-receiver --storage.tsdb.retention.time=200d'",
        )
        container.write(
            "/etc/default/victoria-metrics",
            "ARGS='-storageDataPath=/var/lib/victoria-metrics -dedup.minScrapeInterval=1ms"
            " -retentionPeriod=1y'",
        )
        for unit, (port, path) in ENGINES.items():
            container.run("systemctl", "restart", unit)
            words = ("python3", "-c", GET, f"http://127.0.0.1:{port}/{path}")
            container.until(
                lambda words=words: container.run(*words, check=False).returncode == 0,  # type: ignore[misc]
                60,
                unit,
            )
        yield container


@pytest.fixture(scope="module")
def begin() -> int:
    return int(time.time()) // DAY * DAY - DAYS * DAY - DAY


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory, begin: int) -> Answers:
    """What our own file says, most of whose days are summed up."""
    path = tmp_path_factory.mktemp("collector") / "history.db"
    kept, end = Store(path), begin + DAYS * DAY
    for number, sender in enumerate(FLEET, 1):
        kept.add_node(sender.name, sender.location, sender.name.encode().ljust(32))
        store(kept, number, sender, list(messages(sender, begin)), end + DAY)
    while kept.tidy(end - HOUR, Kept()):
        pass
    kept.close()
    return answers(SqliteHistory(path), begin)


@pytest.fixture(scope="module")
def asked(
    machine: Container, begin: int, tmp_path_factory: pytest.TempPathFactory
) -> list[Answers]:
    """What the engines say."""
    file = tmp_path_factory.mktemp("engines") / "answers"
    ports = (port for port, _ in ENGINES.values())
    subprocess.run(
        [
            *("nsenter", f"--net=/proc/{machine.leader}/ns/net", sys.executable, "-m"),
            *("tests.system.planning.asked", str(begin), str(file), *ports),
        ],
        check=True,
        timeout=120,
    )
    found: list[Answers] = pickle.loads(file.read_bytes())
    return found


def test_the_fleet_has_what_makes_a_history_hard(collected: Answers) -> None:
    days, (month, *_) = collected
    by_name = {each.node: each for each in days}
    names = sorted(each.name for each in FLEET)

    assert list(by_name) == names
    assert [by_name[name].window_seconds for name in names] == [HOUR] * 4 + [300, DAY]
    assert by_name["lon-1"].last < by_name["fra-2"].last
    assert np.isnan(by_name["fra-2"].uplink.receive).sum() == 4
    assert by_name["fra-1.example"].days == DAYS + 2
    assert [len(each.uplink.receive) for each in month][-1] == 31


@pytest.mark.parametrize("number", range(len(ENGINES)), ids=list(ENGINES))
def test_days_and_windows_are_the_same_to_the_bit(
    asked: list[Answers], collected: Answers, number: int
) -> None:
    days, ranges = asked[number]

    assert_same_days(days, collected[0])
    for windows, expected in zip(ranges, collected[1], strict=True):
        assert_same_windows(windows, expected)


def test_all_days_together_are_all_that_was_sent(collected: Answers, begin: int) -> None:
    (lon,) = (each for each in collected[0] if each.node == "lon-1")
    (sender,) = (each for each in FLEET if each.name == "lon-1")

    totals = [each.tunnel.rx_bytes for each in releases(sender, begin)]
    # Each of its runs began within the time, so all that they moved was moved on one of its days.
    ends = [
        before for before, after in zip(totals, [*totals[1:], 0], strict=True) if after < before
    ]
    assert len(ends) == 2
    assert np.nansum(lon.tunnel.receive) == sum(ends)

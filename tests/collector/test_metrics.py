"""The page, as prometheus_client's parser and Prometheus' own promtool read it."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.collector.plans import fleet_plan
from tests.conftest import FakeClock
from trafficd.collector.answers import Result
from trafficd.collector.fleet import Fleet
from trafficd.collector.metrics import METRICS, MetricsPage
from trafficd.collector.slices import Node, Slice
from trafficd.planning.document import Plan
from trafficd.releases import Release, Totals
from trafficd.series import Series, is_counter, series_of

MIB = 1 << 20
HOUR = 3600
NOW = 1_700_000_000.0
START = 1_699_995_600
FRA = Node(1, "fra-1", "frankfurt")
FRA_2 = Node(2, "fra-2", "frankfurt")
AMS = Node(3, "ams-1", "amsterdam")

Key = tuple[str, tuple[tuple[str, str], ...]]
Samples = dict[Key, float]


def said(at: int, uplink: int = 0, *, started_at: int = START, **classes: int) -> Slice:
    """Return what a node says of *at*: MiB received, on its uplinks and by class."""
    release = Release(
        at,
        started_at,
        10**10,
        Totals(uplink * MIB, 0),
        Totals(),
        tuple((name, Totals(total * MIB, 0)) for name, total in classes.items()),
    )
    pairs = series_of(release)
    return Slice(at, tuple(each for each, _ in pairs), tuple(float(value) for _, value in pairs))


class Watched:
    """A fleet of three nodes, and its page."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.fleet = Fleet()
        self.fleet.know((node, NOW - 60, True) for node in (FRA, FRA_2, AMS))
        self.results: dict[Result, int] = {}
        self.plan: Plan | None = None
        self.page = MetricsPage(
            self.fleet, self.results, lambda: 4096, lambda: self.plan, self.clock
        )

    def hear(self, node: Node, *slices: Slice) -> None:
        self.fleet.keep(node.number, slices)

    def text(self) -> str:
        async def whole() -> bytes:
            return b"".join([chunk async for chunk in self.page.chunks()])

        return asyncio.run(whole()).decode()

    def samples(self) -> Samples:
        found: Samples = {}
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                assert key not in found
                found[key] = sample.value
        return found


@pytest.fixture
def watched() -> Watched:
    return Watched()


def labelled(name: str, **labels: str) -> Key:
    return name, tuple(sorted(labels.items()))


def location_total(location: str, name: str = "uplink_receive", **more: str) -> Key:
    return labelled(f"trafficd_location_{name}_bytes_total", location=location, **more)


def test_every_total_of_a_node_is_shown_as_the_node_shows_it(watched: Watched) -> None:
    slice_ = said(START + HOUR, 7, wireguard=3, openvpn=2)
    watched.hear(FRA, slice_)

    samples = watched.samples()

    of_node = {"node": "fra-1", "location": "frankfurt"}
    for series, value in zip(slice_.series, slice_.values, strict=True):
        if is_counter(series) and "bytes" in series.name:
            assert samples[labelled(series.name, **of_node, **dict(series.labels))] == value
        else:
            assert not any(name == series.name for name, _ in samples)


def test_a_nodes_lateness_is_counted_from_its_newest_release(watched: Watched) -> None:
    watched.hear(FRA, said(START + HOUR))
    watched.clock.step(100)

    samples = watched.samples()

    of_fra = {"node": "fra-1", "location": "frankfurt"}
    of_ams = {"node": "ams-1", "location": "amsterdam"}
    last, lateness = (
        "trafficd_node_last_release_timestamp_seconds",
        "trafficd_node_lateness_seconds",
    )
    assert samples[labelled(last, **of_fra)] == START + HOUR
    assert samples[labelled(lateness, **of_fra)] == NOW + 100 - (START + HOUR)
    # It has said nothing since it was added, a minute before.
    assert samples[labelled(last, **of_ams)] == 0
    assert samples[labelled(lateness, **of_ams)] == 160


def test_a_location_is_the_sum_of_its_nodes(watched: Watched) -> None:
    watched.hear(FRA, said(START + HOUR, 7, wireguard=3))
    watched.hear(FRA_2, said(START + HOUR, 5, openvpn=2))
    watched.hear(AMS, said(START + HOUR, 1))

    samples = watched.samples()

    assert samples[location_total("frankfurt")] == 12 * MIB
    assert samples[location_total("amsterdam")] == 1 * MIB
    by_class = location_total("frankfurt", "class_receive", **{"class": "openvpn"})
    assert samples[by_class] == 2 * MIB


def test_a_node_that_starts_again_goes_on_adding_to_its_location(watched: Watched) -> None:
    of_frankfurt = location_total("frankfurt")
    totals = []

    for slice_ in (
        said(START + HOUR, 7),
        said(START + 2 * HOUR, 9),
        said(START + 3 * HOUR, 2, started_at=START + 2 * HOUR),
        # More than before: only the start tells of the new run.
        said(START + 4 * HOUR, 30, started_at=START + 3 * HOUR),
    ):
        watched.hear(FRA, slice_)
        totals.append(watched.samples()[of_frankfurt])

    assert totals == [7 * MIB, 9 * MIB, 11 * MIB, 41 * MIB]
    assert not watched.fleet.is_unclear


def test_a_node_that_never_says_when_it_started_is_added_up_by_its_totals(
    watched: Watched,
) -> None:
    totals = []

    for hour, total in enumerate((7, 9, 2, 3), 1):
        whole = said(START + hour * HOUR, total)
        watched.hear(FRA, Slice(whole.at, whole.series[:2], whole.values[:2]))
        totals.append(watched.samples()[location_total("frankfurt")])

    assert totals == [7 * MIB, 9 * MIB, 11 * MIB, 12 * MIB]
    assert not watched.fleet.is_unclear


def test_a_node_with_more_classes_than_before_goes_on(watched: Watched) -> None:
    watched.hear(FRA, said(START + HOUR, 7, wireguard=3))
    watched.hear(FRA, said(START + 2 * HOUR, 9, wireguard=4, openvpn=5))

    samples = watched.samples()

    by_class = [
        samples[location_total("frankfurt", "class_receive", **{"class": name})]
        for name in ("wireguard", "openvpn")
    ]
    assert samples[location_total("frankfurt")] == 9 * MIB
    assert by_class == [4 * MIB, 5 * MIB]


def test_a_node_with_fewer_classes_has_the_fleet_counted_anew(watched: Watched) -> None:
    watched.hear(FRA, said(START + HOUR, 7, wireguard=3, openvpn=2))
    watched.hear(FRA, said(START + 2 * HOUR, 9, wireguard=4))

    assert watched.fleet.is_unclear


def test_a_release_that_comes_again_or_late_changes_nothing(watched: Watched) -> None:
    first, second = said(START + HOUR, 7), said(START + 2 * HOUR, 9)
    watched.hear(FRA, first, second)
    before = watched.text()

    watched.hear(FRA, first)
    watched.hear(FRA, second)

    assert watched.text() == before
    assert not watched.fleet.is_unclear


def test_a_late_end_of_an_earlier_run_has_the_fleet_counted_anew(watched: Watched) -> None:
    now = said(START + 3 * HOUR, 2, started_at=START + 2 * HOUR)
    watched.hear(FRA, said(START + HOUR, 7), now)
    watched.hear(FRA, said(START + 2 * HOUR, 9))
    assert watched.fleet.is_unclear

    # As the store has it: the run before ended with 9.
    ended = {Series("trafficd_uplink_receive_bytes_total"): 9.0 * MIB}
    watched.fleet.count_anew([(FRA.number, now)], [(FRA.number, ended)])

    assert watched.samples()[location_total("frankfurt")] == 11 * MIB
    assert not watched.fleet.is_unclear


def test_sums_never_fall_when_the_fleet_is_counted_anew(watched: Watched) -> None:
    watched.hear(FRA, said(START + 2 * HOUR, 9))

    # Of before the release that has come since.
    watched.fleet.count_anew([(FRA.number, said(START + HOUR, 7))], [])
    now = watched.samples()[location_total("frankfurt")]
    watched.fleet.count_anew([], [])
    later = watched.samples()[location_total("frankfurt")]
    watched.hear(FRA, said(START + 3 * HOUR, 10))

    assert (now, later) == (9 * MIB, 9 * MIB)
    assert watched.samples()[location_total("frankfurt")] == 10 * MIB


def test_a_restart_that_the_store_has_not_seen_keeps_its_sum(watched: Watched) -> None:
    watched.hear(FRA, said(START + HOUR, 7))
    watched.hear(FRA, said(START + 3 * HOUR, 2, started_at=START + 2 * HOUR))

    watched.fleet.count_anew([(FRA.number, said(START + HOUR, 7))], [])

    assert watched.samples()[location_total("frankfurt")] == 9 * MIB


def test_a_part_of_a_release_has_the_fleet_counted_anew(watched: Watched) -> None:
    whole = said(START + HOUR, 7)

    watched.hear(FRA, Slice(whole.at, whole.series[:1], whole.values[:1]))
    watched.hear(FRA, Slice(whole.at, whole.series[1:], whole.values[1:]))

    assert watched.fleet.is_unclear


def test_a_revoked_node_is_no_longer_shown_and_stays_in_its_location(watched: Watched) -> None:
    watched.hear(FRA, said(START + HOUR, 7))
    watched.fleet.know([(FRA, NOW, False)])

    samples = watched.samples()

    assert not any(("node", "fra-1") in labels for _, labels in samples)
    assert samples[location_total("frankfurt")] == 7 * MIB


RELEASES = st.lists(
    st.tuples(st.sampled_from([FRA, FRA_2, AMS]), st.integers(0, 5), st.booleans()), max_size=30
)


@given(RELEASES)
def test_sums_are_what_was_moved_whatever_restarts(
    releases: Iterable[tuple[Node, int, bool]],
) -> None:
    watched = Watched()
    moved: dict[str, int] = {}
    runs = dict.fromkeys((FRA, FRA_2, AMS), (START, 0))

    for hour, (node, grown, restarts) in enumerate(releases, 1):
        at = START + hour * HOUR
        started_at, total = runs[node]
        runs[node] = started_at, total = (at, grown) if restarts else (started_at, total + grown)
        watched.hear(node, said(at, total, started_at=started_at))
        moved[node.location] = moved.get(node.location, 0) + grown

    samples = watched.samples()
    found = {
        dict(labels)["location"]: value
        for (name, labels), value in samples.items()
        if name == "trafficd_location_uplink_receive_bytes_total"
    }
    assert found == {location: total * MIB for location, total in moved.items()}
    assert not watched.fleet.is_unclear


@given(RELEASES, st.integers(0, 30))
def test_a_collector_that_starts_again_goes_on_with_the_same_sums(
    releases: list[tuple[Node, int, bool]], cut: int
) -> None:
    uncut, restarted = Watched(), Watched()
    runs = dict.fromkeys((FRA, FRA_2, AMS), (START, 0))
    ended: dict[Node, float] = {}
    last: dict[Node, Slice] = {}

    for hour, (node, grown, restarts) in enumerate(releases, 1):
        at = START + hour * HOUR
        started_at, total = runs[node]
        if restarts:
            ended[node] = ended.get(node, 0.0) + total * MIB
        runs[node] = started_at, total = (at, grown) if restarts else (started_at, total + grown)
        last[node] = said(at, total, started_at=started_at)
        for each in (uncut, restarted):
            each.hear(node, last[node])
        if hour == cut:
            restarted = Watched()
            series = Series("trafficd_uplink_receive_bytes_total")
            restarted.fleet.count_anew(
                [(node.number, slice_) for node, slice_ in last.items()],
                [(node.number, {series: value}) for node, value in ended.items()],
            )

    assert of_locations(restarted.samples()) == of_locations(uncut.samples())


def of_locations(samples: Mapping[Key, float]) -> dict[Key, float]:
    return {
        key: value
        for key, value in samples.items()
        if key[0] == "trafficd_location_uplink_receive_bytes_total"
    }


def test_every_result_is_shown_from_the_start(watched: Watched) -> None:
    watched.results[Result.CONFLICT] = 3

    samples = watched.samples()

    shown = {
        dict(labels)["result"]: value
        for (name, labels), value in samples.items()
        if name == "trafficd_collector_messages_total"
    }
    assert shown == {each: 3 if each == "conflict" else 0 for each in map(str, Result)}
    assert samples["trafficd_collector_database_bytes", ()] == 4096


def test_the_page_says_what_the_plan_does_and_nothing_where_that_says_nothing(
    watched: Watched,
) -> None:
    plan = fleet_plan(locations=6, nodes=12)
    watched.plan = plan

    found = watched.samples()

    for each in plan.ranking:
        place = ("location", each.name)
        p95 = found.get(("trafficd_plan_p95_bits_per_second", (place,)))
        assert p95 == (each.p95_bits_per_second and round(each.p95_bits_per_second))
        for crossing in each.crossings:
            mark = (place, ("threshold", f"{crossing.threshold:g}"))
            for name, day in (
                ("saturation_first", crossing.first),
                ("order_by", crossing.order_by),
            ):
                seconds = found.get((f"trafficd_plan_{name}_timestamp_seconds", mark))
                shown = seconds and datetime.fromtimestamp(seconds, UTC).date()
                assert shown == day


def test_the_page_holds_each_family_once_and_in_one_piece(watched: Watched) -> None:
    watched.plan = fleet_plan(locations=4, nodes=8)
    for node in (FRA, FRA_2, AMS):
        watched.hear(node, said(START + HOUR, 7, wireguard=3, openvpn=2))

    families = list(text_string_to_metric_families(watched.text()))

    names = [family.name for family in families]
    # The parser leaves out the suffix of counters.
    assert names == [metric.name for metric in METRICS]
    assert [family.type for family in families] == [str(metric.kind) for metric in METRICS]
    assert all(family.documentation and family.samples for family in families)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_promtool_finds_nothing_to_mend(watched: Watched) -> None:
    for node in (FRA, FRA_2, AMS):
        watched.hear(node, said(START + HOUR, 7, wireguard=3, openvpn=2))

    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=watched.text(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")

"""The made-up history: what counters do, what histograms say, and what the store makes of it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pytest

from trafficd.collector.slices import Node
from trafficd.collector.store import Store
from trafficd.collector.store_daily import DAY_SECONDS
from trafficd.demo.fleet import FLEET, Member, Outage, Span, made_up
from trafficd.demo.history import count, fill, messages
from trafficd.demo.node import WINDOW_SECONDS, shared_times
from trafficd.demo.past import Moved, Past, series
from trafficd.demo.schedule import STEP_SECONDS, Opened, steps
from trafficd.demo.schedule import Moved as Packets
from trafficd.errors import TrafficdError
from trafficd.schema import NODE_NAME, ROUNDING_BYTES, SLOT_SECONDS, UTILISATION_PERCENTS, WORD
from trafficd.series import Series, is_counter

HOUR_SECONDS = 60 * 60
MIDNIGHT = 20_500 * DAY_SECONDS
# Ends on an evening, between two hours.
SPAN = Span(MIDNIGHT + 18 * HOUR_SECONDS + 35 * 60, days=12, slot_days=4)
# Rebooted while releases were an hour's, and away for seven hours while they were a slot's.
NODE = replace(FLEET[3], outages=(Outage(8, 5, 0), Outage(2, 3, 7)))
AT = Series("trafficd_release_timestamp_seconds")
START = Series("trafficd_start_timestamp_seconds")
WAYS = ("receive", "transmit")

Release = dict[Series, float]


@pytest.fixture(scope="module")
def releases() -> list[Release]:
    return of(NODE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "collector.db")) as opened:
        yield opened


def of(member: Member, span: Span = SPAN, until: int = SPAN.until) -> list[Release]:
    """Return what *member* releases in *span*."""
    past = Past(member, span, until)
    times, rows = past.between(0, until + 1)
    found = [dict(zip(past.series, row, strict=True)) for row in rows]
    assert [each[AT] for each in found] == times
    return found


def total(release: Release, group: str, way: str, name: str = "") -> int:
    labels = (("class", name),) if name else ()
    return int(release[Series(f"trafficd_{group}_{way}_bytes_total", labels)])


def slots(release: Release, way: str, bound: str = "+Inf") -> int:
    name = "trafficd_uplink_utilisation_ratio_bucket"
    return int(release[Series(name, (("direction", way), ("le", bound)))])


def same_run(releases: list[Release]) -> list[tuple[Release, Release]]:
    return [(a, b) for a, b in pairwise(releases) if a[START] == b[START]]


def slow_increase(releases: list[Release], since: int, until: int) -> dict[Series, int]:
    """Return what the counters moved after *since* and up to *until*, release by release."""
    moved = dict.fromkeys(filter(is_counter, releases[0]), 0)
    for before, after in pairwise(releases):
        if since < after[AT] <= until:
            for each in moved:
                begun = before[each] if before[START] == after[START] else 0
                moved[each] += int(after[each] - begun)
    return moved


def test_counters_begin_at_nothing_and_never_fall_within_a_run(releases: list[Release]) -> None:
    counters = list(filter(is_counter, releases[0]))
    begun = [each for each in releases if each[AT] == each[START]]

    assert len(begun) == 3
    assert not any(
        each[counter] for each in begun for counter in counters if "build" not in counter.name
    )
    assert all(b[each] >= a[each] for a, b in same_run(releases) for each in counters)


def test_classes_add_up_to_the_tunnels_and_uplinks_carry_more(releases: list[Release]) -> None:
    for each in releases:
        tunnel = [total(each, "tunnel", way) for way in WAYS]
        uplink = [total(each, "uplink", way) for way in WAYS]

        assert tunnel == [
            total(each, "class", way, "ppp") + total(each, "class", way, "wireguard")
            for way in WAYS
        ]
        assert all(number % ROUNDING_BYTES == 0 for number in (*tunnel, *uplink))
        # All of it passes the uplink, inside or outside of a tunnel, but for what is rounded.
        assert min(uplink) >= sum(tunnel)


def test_outer_packets_are_six_to_nine_percent_longer(releases: list[Release]) -> None:
    last = releases[-1]
    tunnel = [total(last, "tunnel", way) for way in WAYS]

    overhead = [total(last, "uplink", way) - sum(tunnel) for way in WAYS]

    assert all(0.06 <= more / moved <= 0.095 for more, moved in zip(overhead, tunnel, strict=True))


def test_releases_are_of_hours_and_then_of_slots(releases: list[Release]) -> None:
    change = SPAN.until // DAY_SECONDS * DAY_SECONDS - 4 * DAY_SECONDS
    lengths = {(b[AT] >= change + HOUR_SECONDS, b[AT] - a[AT]) for a, b in same_run(releases)}

    assert lengths == {(False, HOUR_SECONDS), (False, SLOT_SECONDS), (True, SLOT_SECONDS)}
    assert releases[0][AT] == MIDNIGHT - 12 * DAY_SECONDS
    assert releases[-1][AT] == SPAN.until


def test_an_outage_is_a_gap_and_a_new_run(releases: list[Release]) -> None:
    away_from = MIDNIGHT - 2 * DAY_SECONDS + 3 * HOUR_SECONDS
    ends = [(a[AT], b[AT]) for a, b in pairwise(releases) if a[START] != b[START]]

    rebooted = MIDNIGHT - 8 * DAY_SECONDS + 5 * HOUR_SECONDS
    assert ends == [
        (rebooted - HOUR_SECONDS, rebooted),
        (away_from - SLOT_SECONDS, away_from + 7 * HOUR_SECONDS),
    ]


def test_the_histogram_moves_at_midnight_and_only_then(releases: list[Release]) -> None:
    for before, after in same_run(releases):
        moved = slots(after, "receive") - slots(before, "receive")
        if after[AT] % DAY_SECONDS:
            assert moved == 0
        elif before[START] <= after[AT] - DAY_SECONDS:
            assert moved == DAY_SECONDS // SLOT_SECONDS


def test_the_histogram_fits_the_bytes_of_the_same_slots(releases: list[Release]) -> None:
    day = MIDNIGHT - DAY_SECONDS
    by_time = {int(each[AT]): each for each in releases}
    for way in WAYS:
        moved = [
            total(by_time[at + SLOT_SECONDS], "uplink", way) - total(by_time[at], "uplink", way)
            for at in range(day, MIDNIGHT, SLOT_SECONDS)
        ]
        for percent in UTILISATION_PERCENTS:
            most = NODE.capacity_bits_per_second * SLOT_SECONDS / 8 * percent / 100
            bound = str(percent / 100)

            counted = slots(by_time[MIDNIGHT], way, bound) - slots(by_time[day], way, bound)

            # Rounding both ends of a slot makes it longer or shorter by less than that.
            assert sum(each + ROUNDING_BYTES <= most for each in moved) <= counted
            assert counted <= sum(each - ROUNDING_BYTES < most for each in moved)


def test_the_histogram_is_what_counting_slot_by_slot_gives(releases: list[Release]) -> None:
    first, last = (MIDNIGHT - 12 * DAY_SECONDS) // SLOT_SECONDS, MIDNIGHT // SLOT_SECONDS
    rebooted = (MIDNIGHT - 8 * DAY_SECONDS + 5 * HOUR_SECONDS) // SLOT_SECONDS
    (before,) = [b for b, a in pairwise(releases) if a[AT] == a[START] == rebooted * SLOT_SECONDS]
    moved = Moved(NODE, first, last, SPAN.until).uplink[1].tolist()

    for percent in UTILISATION_PERCENTS:
        counted = sum(
            100 * each * 8 <= percent * NODE.capacity_bits_per_second * SLOT_SECONDS
            for each in moved[: 4 * 288]
        )
        assert slots(before, "transmit", str(percent / 100)) == counted


def test_the_same_time_is_told_alike_whenever_it_is_asked_for() -> None:
    later = SPAN.until + 3 * DAY_SECONDS

    once, again, longer = of(NODE), of(NODE), of(NODE, until=later)

    assert once == again
    assert longer[: len(once)] == once
    assert longer[-1][AT] == later


def test_no_two_nodes_are_alike() -> None:
    moved = {total(of(member)[-1], "uplink", "transmit") for member in FLEET}

    assert len(moved) == len(FLEET)


def test_who_is_live_has_a_past_that_ends_a_window_earlier() -> None:
    assert of(FLEET[0])[-1][AT] == SPAN.until - SLOT_SECONDS


def test_who_came_lately_has_no_history_before() -> None:
    came = replace(NODE, came_days_ago=5, outages=())

    assert of(came)[0][AT] == MIDNIGHT - 5 * DAY_SECONDS


def test_messages_come_by_time_and_are_as_many_as_are_counted() -> None:
    members = [replace(member, outages=()) for member in FLEET[3:6]]

    found = list(messages(members, SPAN))

    assert [number for number, _ in found[:6]] == [0, 1, 2, 0, 1, 2]
    # And that of each one's beginning.
    assert len(found) == count(members, SPAN) + len(members)


def test_the_store_gives_back_what_was_loaded(store: Store, releases: list[Release]) -> None:
    (node,) = fill(store, [NODE], SPAN)

    stored = list(store.history(node.number, 0, SPAN.until))
    assert [dict(zip(each.series, each.values, strict=True)) for each in stored] == releases
    for since, until in [(0, SPAN.until), (MIDNIGHT - 9 * DAY_SECONDS, MIDNIGHT - 3600)]:
        moved = slow_increase(releases, since, until)
        assert store.moved(node.number, since, until) == moved


def test_the_days_that_are_over_are_summed_up(store: Store, releases: list[Release]) -> None:
    (node,) = fill(store, [NODE], SPAN)

    days = list(store.days(node.number, 0, SPAN.until))

    # The beginning is a release at 00:00, and so of the day before.
    assert [day.ends_at for day in days[1:]] == [
        MIDNIGHT - ago * DAY_SECONDS for ago in range(11, -1, -1)
    ]
    for day in days[1:]:
        assert day.moved == slow_increase(releases, day.ends_at - DAY_SECONDS, day.ends_at)
        assert day.capacity_bits_per_second == NODE.capacity_bits_per_second
    counted = [
        day.moved[Series("trafficd_uplink_utilisation_ratio_count", (("direction", "receive"),))]
        for day in days[1:]
    ]
    # What was counted of the days on which it went away went with it.
    assert counted == [288] * 3 + [288] + [19 * 12] + [288] * 5 + [14 * 12] + [288]


def test_a_whole_fleet_is_refused_nothing(store: Store) -> None:
    nodes = fill(store, FLEET, replace(SPAN, days=3, slot_days=1))

    newest = {node.name: slice_.at for node, slice_ in store.latest()}
    assert newest == {member.name: SPAN.until - SLOT_SECONDS * member.is_live for member in FLEET}
    assert [node.location for node in nodes] == [member.location for member in FLEET]


def test_a_store_that_has_said_otherwise_refuses_it(store: Store) -> None:
    later = replace(SPAN, until=SPAN.until + SLOT_SECONDS)
    fill(store, [NODE], SPAN)
    store.revoke_node(NODE.name)

    with pytest.raises(TrafficdError, match=r"history: refused: "):
        fill(store, [NODE], later)


def test_a_fleet_of_any_size_can_be_made_up(store: Store) -> None:
    members = made_up(30, 7)
    span = Span(MIDNIGHT + HOUR_SECONDS, days=20, slot_days=0, window_seconds=DAY_SECONDS)

    nodes = fill(store, members, span)

    assert len({node.name for node in nodes}) == 30
    assert len({node.location for node in nodes}) == 7
    assert all(NODE_NAME.fullmatch(node.name) and WORD.fullmatch(node.location) for node in nodes)
    assert all(days_of(store, node) == [1] * 21 for node in nodes)


def days_of(store: Store, node: Node) -> list[int]:
    return [day.releases for day in store.days(node.number, 0, MIDNIGHT)]


@pytest.mark.parametrize(
    "member", [member for member in FLEET if member.is_live], ids=lambda m: m.name
)
@pytest.mark.parametrize("hour", [0, 5, 10, 15, 20])
def test_real_links_go_on_where_the_past_ends(member: Member, hour: int) -> None:
    at = MIDNIGHT + hour * HOUR_SECONDS
    speed, windows = 60.0, 20
    played = int(windows * WINDOW_SECONDS / speed / STEP_SECONDS * 0.95)
    sizes: dict[str, int] = {}
    real = 0

    for actions in islice(
        steps(member.name, member.residents, lambda: shared_times(member, at, speed)), played
    ):
        for action in actions:
            match action:
                case Opened(link, packet_bytes):
                    sizes[link] = packet_bytes
                case Packets(link, received, transmitted):
                    real += (received + transmitted) * sizes[link]
                case _:
                    pass

    first = at // SLOT_SECONDS
    past = Moved(member, first - 12, first + 12, at)
    made_up_bytes = sum(int(each.sum()) for ways in past.classes for each in ways) / 24
    assert real / windows == pytest.approx(made_up_bytes, rel=0.15)


def test_a_release_has_the_series_that_a_real_one_has() -> None:
    assert set(of(NODE)[0]) == set(series(NODE))

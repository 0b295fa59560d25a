"""What the store takes, merges, refuses and says of it."""

import math
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pytest

from tests.collector.storing import (
    BUCKET,
    CAPACITY,
    DAY,
    HOUR,
    MIB,
    MIDNIGHT,
    START,
    TUNNEL,
    UPLINK,
    by_series,
    location_total,
    made,
    released,
    said,
    stored,
)
from trafficd.collector import store_merge
from trafficd.collector.slices import Slice
from trafficd.collector.store import Store
from trafficd.series import Series

NODE = 1


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return made(tmp_path / "collector.db", "fra-1", "fra-2")


def test_releases_come_back_as_they_were_said(store: Store) -> None:
    first, second = released(MIDNIGHT + HOUR, 7), released(MIDNIGHT + 2 * HOUR, 9)

    answers = store.append([(NODE, [first]), (2, [first]), (NODE, [second])])

    assert answers == [None, None, None]
    assert list(store.history(NODE, 0, MIDNIGHT + DAY)) == [first, second]
    assert list(store.history(2, 0, MIDNIGHT + DAY)) == [first]


def test_history_begins_after_since_and_ends_with_until(store: Store) -> None:
    store.append([(NODE, [released(MIDNIGHT + hour * HOUR, hour)]) for hour in range(1, 6)])

    found = store.history(NODE, MIDNIGHT + 2 * HOUR, MIDNIGHT + 4 * HOUR)

    assert [each.at for each in found] == [MIDNIGHT + 3 * HOUR, MIDNIGHT + 4 * HOUR]


def test_the_same_release_twice_is_one(store: Store) -> None:
    releases = [released(MIDNIGHT + hour * HOUR, hour) for hour in range(4)]
    for release in releases:
        store.append([(NODE, [release])])

    answers = store.append([(NODE, [release]) for release in (*releases[::-1], *releases)])

    assert set(answers) == {None}
    assert list(store.history(NODE, 0, MIDNIGHT + DAY)) == releases


def test_another_value_is_refused_with_series_time_and_both_values(store: Store) -> None:
    store.append([(NODE, [said(MIDNIGHT, {UPLINK: 7 * MIB, TUNNEL: 1})])])

    answers = store.append(
        [
            (
                NODE,
                [said(MIDNIGHT, {UPLINK: 8 * MIB, START: 5}), said(MIDNIGHT + HOUR, {TUNNEL: 1})],
            ),
            (2, [said(MIDNIGHT, {UPLINK: 8 * MIB})]),
        ]
    )

    refused = (
        "trafficd_uplink_receive_bytes_total: 8388608 for 2024-10-04 00:00 UTC, which has 7340032:"
        " what was released once does not change"
    )
    assert answers == [refused, None]
    assert stored(store, NODE) == {MIDNIGHT: {UPLINK: 7 * MIB, TUNNEL: 1}}
    assert stored(store, 2) == {MIDNIGHT: {UPLINK: 8 * MIB}}


def test_messages_of_one_batch_can_contradict_each_other(store: Store) -> None:
    answers = store.append([(NODE, [released(MIDNIGHT, mib)]) for mib in (7, 8, 7)])

    assert [answer is None for answer in answers] == [True, False, True]
    assert stored(store, NODE)[MIDNIGHT][UPLINK] == 7 * MIB


def test_a_message_that_contradicts_itself_is_refused(store: Store) -> None:
    both = [said(MIDNIGHT, {UPLINK: 1}), said(MIDNIGHT, {UPLINK: 2})]

    (answer,) = store.append([(NODE, both)])

    assert answer is not None
    assert stored(store, NODE) == {}


def test_parts_of_a_release_merge(store: Store) -> None:
    release = released(MIDNIGHT, 7)
    values = dict(zip(release.series, release.values, strict=True))
    halves = [dict(list(values.items())[::2]), dict(list(values.items())[1::2])]

    answers = [store.append([(NODE, [said(MIDNIGHT, half)])]) for half in halves]

    assert answers == [[None], [None]]
    assert list(store.history(NODE, 0, MIDNIGHT)) == [release]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("is_next", [True, False])
def test_what_is_no_number_from_0_on_never_gets_in(
    store: Store, value: float, *, is_next: bool
) -> None:
    if is_next:
        store.append(
            [(NODE, [said(MIDNIGHT - hour, {UPLINK: 1, START: 5})]) for hour in (600, 300)]
        )
    before = stored(store, NODE)

    answers = [
        store.append([(NODE, [said(MIDNIGHT, {UPLINK: value, START: 5})])])[0],
        store.append([(NODE, [said(MIDNIGHT, {UPLINK: 2, START: value})])])[0],
    ]

    assert all(answer and "not a finite number" in answer for answer in answers)
    assert stored(store, NODE) == before


def test_odd_values_stay_exact_beside_whole_mib(store: Store) -> None:
    odd = [0.1, 2.0**73 + 2.0**60, 5e-324, 1.7976931348623157e308, 3.0, 0.0]

    store.append([(NODE, [said(MIDNIGHT + n * 300, {UPLINK: v})]) for n, v in enumerate(odd)])

    assert [values[UPLINK] for values in stored(store, NODE).values()] == odd


def test_a_node_that_nobody_added_is_refused(store: Store) -> None:
    assert store.append([(17, [released(MIDNIGHT, 7)])]) == ["node 17: not known to this collector"]


def test_an_empty_message_is_taken(store: Store) -> None:
    assert store.append([(NODE, []), (NODE, [said(MIDNIGHT, {})])]) == [None, None]
    assert stored(store, NODE) == {}


def test_a_restart_is_no_negative_traffic(store: Store) -> None:
    for hour, mib, start in ((1, 100, 0), (2, 150, 0), (3, 5, 2), (4, 20, 2)):
        store.append(
            [(NODE, [released(MIDNIGHT + hour * HOUR, mib, start=MIDNIGHT + start * HOUR)])]
        )

    moved = store.moved(NODE, MIDNIGHT + HOUR, MIDNIGHT + DAY)

    assert moved[UPLINK] == (50 + 20) * MIB
    assert location_total(store, UPLINK) == (150 + 20) * MIB


def test_a_restart_is_seen_though_the_new_run_has_moved_more(store: Store) -> None:
    store.append([(NODE, [released(MIDNIGHT + HOUR, 10, start=MIDNIGHT)])])
    store.append([(NODE, [released(MIDNIGHT + 3 * HOUR, 30, start=MIDNIGHT + 2 * HOUR)])])

    assert store.moved(NODE, MIDNIGHT + HOUR, MIDNIGHT + DAY)[UPLINK] == 30 * MIB
    assert location_total(store, UPLINK) == 40 * MIB


def test_the_end_of_a_run_that_arrives_late_is_counted(store: Store) -> None:
    old, new = MIDNIGHT, MIDNIGHT + 3 * HOUR
    for at, mib, start in ((1, 10, old), (4, 1, new), (3, 30, old), (2, 20, old)):
        store.append([(NODE, [released(MIDNIGHT + at * HOUR, mib, start=start)])])

    assert location_total(store, UPLINK) == 31 * MIB
    assert store.moved(NODE, MIDNIGHT + HOUR, MIDNIGHT + DAY)[UPLINK] == 21 * MIB


def test_totals_that_fall_without_a_start_time_began_again(store: Store) -> None:
    for hour, total in enumerate((10, 15, 4, 6)):
        store.append([(NODE, [said(MIDNIGHT + hour * HOUR, {UPLINK: total})])])

    assert location_total(store, UPLINK) == 15 + 6
    assert store.moved(NODE, MIDNIGHT, MIDNIGHT + DAY)[UPLINK] == 5 + 4 + 2


def test_the_order_of_times_within_a_message_does_not_matter(store: Store) -> None:
    hours = [said(MIDNIGHT + hour * HOUR, {UPLINK: total}) for hour, total in ((1, 4), (0, 10))]

    store.append([(NODE, hours)])

    assert location_total(store, UPLINK) == 10 + 4


def test_a_histogram_that_began_again_tells_a_run_too(store: Store) -> None:
    for hour, count in enumerate((7, 8, 9, 2)):
        store.append([(NODE, [said(MIDNIGHT + hour * HOUR, {UPLINK: 5, BUCKET: count})])])

    assert location_total(store, BUCKET) == 9 + 2


def test_what_was_before_the_first_release_is_not_of_its_hour(store: Store) -> None:
    store.append([(NODE, [released(MIDNIGHT + HOUR, 500, start=MIDNIGHT - DAY)])])

    assert store.moved(NODE, MIDNIGHT, MIDNIGHT + DAY)[UPLINK] == 0


def test_a_run_that_began_within_is_of_it_from_0_on(store: Store) -> None:
    store.append([(NODE, [released(MIDNIGHT + 2 * HOUR, 500, start=MIDNIGHT + HOUR)])])

    assert store.moved(NODE, MIDNIGHT, MIDNIGHT + DAY)[UPLINK] == 500 * MIB


def test_a_run_whose_first_release_has_no_totals_begins_at_0_too(store: Store) -> None:
    for hour, values in enumerate(
        ({START: 5, UPLINK: 9}, {START: 10, CAPACITY: 1}, {START: 10, UPLINK: 2})
    ):
        store.append([(NODE, [said(MIDNIGHT + hour * HOUR, values)])])

    assert store.moved(NODE, MIDNIGHT, MIDNIGHT + DAY)[UPLINK] == 2


def test_latest_has_the_newest_value_of_every_series(store: Store) -> None:
    store.append([(NODE, [said(MIDNIGHT, {UPLINK: 1, TUNNEL: 2, START: 5, CAPACITY: 9})])])
    store.append([(NODE, [said(MIDNIGHT + HOUR, {UPLINK: 3, START: 5})])])

    ((node, newest),) = store.latest()

    assert (node.name, newest.at) == ("fra-1", MIDNIGHT + HOUR)
    assert by_series(store.latest())[NODE] == {UPLINK: 3, TUNNEL: 2, START: 5, CAPACITY: 9}


def test_latest_waits_for_the_part_that_tells_the_run(store: Store) -> None:
    store.append([(NODE, [said(MIDNIGHT, {UPLINK: 10, START: 5})])])

    store.append([(NODE, [said(MIDNIGHT + HOUR, {UPLINK: 20})])])
    before = location_total(store, UPLINK)
    store.append([(NODE, [said(MIDNIGHT + HOUR, {START: MIDNIGHT})])])

    assert before == 10
    assert location_total(store, UPLINK) == 30


def test_a_part_that_comes_late_is_the_newest_of_its_series_still(store: Store) -> None:
    for hour, values in ((0, {START: 5, UPLINK: 1}), (1, {START: 5, UPLINK: 2}), (0, {TUNNEL: 7})):
        store.append([(NODE, [said(MIDNIGHT + hour * HOUR, values)])])

    assert by_series(store.latest())[NODE] == {START: 5, UPLINK: 2, TUNNEL: 7}


def test_a_store_that_is_opened_again_knows_where_nodes_stand(tmp_path: Path) -> None:
    store = made(tmp_path / "collector.db", "fra-1", "fra-2", "fra-3")
    store.append([(NODE, [released(MIDNIGHT, 10, start=MIDNIGHT - DAY)])])
    store.append([(NODE, [released(MIDNIGHT + HOUR, 3, start=MIDNIGHT)])])
    store.append([(2, [said(MIDNIGHT, {UPLINK: 1, TUNNEL: 2, START: 5})])])
    store.append([(2, [said(MIDNIGHT + HOUR, {UPLINK: 3, START: 5})])])
    before = by_series(store.latest()), [values for _, values in store.carried()]
    store.close()

    again = Store(tmp_path / "collector.db")

    assert (by_series(again.latest()), [values for _, values in again.carried()]) == before
    assert again.append([(NODE, [released(MIDNIGHT + HOUR, 4, start=MIDNIGHT)])])[0] is not None
    assert again.append([(NODE, [released(MIDNIGHT + 2 * HOUR, 4, start=MIDNIGHT)])]) == [None]
    assert location_total(again, UPLINK) == (10 + 4) * MIB + 3


def test_what_a_node_no_longer_says_of_its_run_stays_moved(tmp_path: Path) -> None:
    store = made(tmp_path / "collector.db")
    store.append([(NODE, [said(MIDNIGHT, {UPLINK: 1, TUNNEL: 7, START: 5, CAPACITY: 8})])])
    for hour in range(1, 30):
        # A class was taken out of the configuration, say; the bucket makes the layout another.
        values = {UPLINK: hour, BUCKET: hour, START: 5, CAPACITY: 8}
        store.append([(NODE, [said(MIDNIGHT + hour * HOUR, values)])])
    before = location_total(store, TUNNEL)
    store.close()

    again = Store(tmp_path / "collector.db")

    assert (before, location_total(again, TUNNEL)) == (7, 7)
    again.append([(NODE, [said(MIDNIGHT + DAY * 2, {UPLINK: 1, START: MIDNIGHT})])])
    assert location_total(again, TUNNEL) == 7


def test_histogram_counts_are_kept_and_added_up(store: Store) -> None:
    for day, count in enumerate((5, 9, 20)):
        store.append([(NODE, [said(MIDNIGHT + day * DAY, {BUCKET: count, START: 5, UPLINK: day})])])

    assert store.moved(NODE, MIDNIGHT, MIDNIGHT + 3 * DAY)[BUCKET] == 15


def test_gauges_are_not_added_up(store: Store) -> None:
    store.append([(NODE, [released(MIDNIGHT + hour * HOUR, hour)]) for hour in (1, 2)])

    assert CAPACITY not in store.moved(NODE, 0, MIDNIGHT + DAY)
    assert START not in store.moved(NODE, 0, MIDNIGHT + DAY)


def of_classes(at: int, classes: Iterable[int]) -> Slice:
    name = "trafficd_class_receive_bytes_total"
    return said(at, {Series(name, (("class", f"c{number}"),)): 1.0 for number in classes})


def test_a_release_in_parts_has_no_more_series_than_one_that_is_whole(store: Store) -> None:
    at = MIDNIGHT + HOUR
    parts = [range(start, start + 32) for start in range(0, 1024, 32)]

    taken = [store.append([(1, [of_classes(at, part)])]) for part in parts]
    (refused,) = store.append([(1, [of_classes(at, range(1024, 1025))])])
    (other,) = store.append([(2, [of_classes(at, range(1024, 1025))])])

    assert taken == [[None]] * len(parts)
    assert refused is not None
    assert "at most 1024 series" in refused
    assert other is None
    assert len(stored(store, 1)[at]) == 1024


@pytest.mark.parametrize("is_late", [False, True])
def test_a_node_has_so_many_series_for_ever_whatever_its_runs(
    store: Store, *, is_late: bool
) -> None:
    def message(number: int) -> Slice:
        at = MIDNIGHT + (1000 - number if is_late else number) * HOUR
        named = of_classes(at, range(number * 32, number * 32 + 32))
        start = {START: float(MIDNIGHT - number % 3 * HOUR)}
        return said(at, start | dict(zip(named.series, named.values, strict=True)))

    answers = [store.append([(1, [message(number)])])[0] for number in range(200)]

    taken = answers.index(next(each for each in answers if each))
    assert 4096 // 32 - 2 <= taken <= 4096 // 32
    assert all(each and "at most 4096" in each for each in answers[taken:])
    # What it had before it still may say.
    again = message(0)
    again = said(MIDNIGHT + 2000 * HOUR, dict(zip(again.series, again.values, strict=True)))
    assert store.append([(1, [again])]) == [None]


def test_a_message_of_many_times_is_no_way_around(store: Store) -> None:
    slices = [
        of_classes(MIDNIGHT + n * HOUR, range(n * 32, n * 32 + 32))
        for n in range(1, 4096 // 32 + 2)
    ]

    (refused,) = store.append([(1, slices)])

    assert refused is not None
    assert stored(store, 1) == {}


def test_a_node_that_says_something_else_every_time_does_not_fill_the_file_with_layouts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_merge, "_MOST_NEW_LAYOUTS", 50)
    # Every time another pair of twenty classes.
    pairs = list(combinations(range(20), 2))

    answers = [
        store.append([(1, [of_classes(MIDNIGHT + HOUR * place, pair)])])[0]
        for place, pair in enumerate(pairs)
    ]

    taken = answers.index(next(each for each in answers if each))
    assert 20 <= taken <= 50
    assert "other series each time" in str(answers[taken])
    # What is laid out as it was the last time goes on, and so do other nodes.
    last = MIDNIGHT + HOUR * len(pairs)
    assert store.append([(1, [of_classes(last, pairs[taken - 1])])]) == [None]
    assert store.append([(2, [of_classes(last, pairs[-1])])]) == [None]


@pytest.mark.parametrize("says_start", [True, False])
def test_a_node_begins_so_many_runs_and_then_no_more(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, says_start: bool
) -> None:
    monkeypatch.setattr(store_merge, "_MOST_RUNS", 20)

    def message(number: int, run: int, total: int) -> Slice:
        start = {START: float(MIDNIGHT - run * HOUR)} if says_start else {}
        return said(MIDNIGHT + number * HOUR, {UPLINK: float(total), **start})

    # Totals that fall tell a run too.
    answers = [store.append([(1, [message(n, n, 100 - n)])])[0] for n in range(30)]
    goes_on = store.append([(1, [message(30, 19, 100)]), (2, [message(30, 0, 1)])])

    assert answers[:20] == [None] * 20
    assert all(each and "at most 20 runs" in each for each in answers[20:])
    assert goes_on == [None, None]

"""The store against a dictionary of dictionaries: anything, in parts, again, in any order."""

import itertools
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

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
    SlowStore,
    by_series,
    location_total,
    made,
    numbers,
    said,
    stored,
)
from trafficd.collector.backup import verify
from trafficd.collector.retention import Kept
from trafficd.collector.slices import Slice
from trafficd.collector.store import Store
from trafficd.series import is_counter

SERIES = (UPLINK, TUNNEL, BUCKET, CAPACITY, START)
# Few, so that they meet.
TIMES = [MIDNIGHT + hour * HOUR for hour in (-1, 0, 1, 2, 23, 24, 25, 49)]
Message = tuple[int, list[Slice]]

_values = st.dictionaries(
    st.sampled_from(SERIES),
    st.sampled_from([0.0, 1.0, 2.5, float(MIB), 3.0 * MIB, float(MIDNIGHT)]),
    min_size=1,
)
_messages = st.tuples(
    st.integers(1, 2),
    st.lists(st.builds(said, st.sampled_from(TIMES), _values), max_size=3),
)


def in_batches(messages: Sequence[Message], sizes: Sequence[int]) -> list[list[Message]]:
    left = list(messages)
    batches: list[list[Message]] = []
    for size in itertools.chain(sizes, itertools.repeat(3)):
        if not left:
            return batches
        batches.append(left[:size])
        left = left[size:]
    return batches


@given(st.lists(_messages, max_size=25), st.lists(st.integers(1, 5)), st.data())
def test_the_store_has_what_a_dictionary_has(
    messages: list[Message], sizes: list[int], data: st.DataObject
) -> None:
    slow = SlowStore()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "collector.db"
        store = made(path, "fra-1", "fra-2")
        for batch in in_batches(messages, sizes):
            if data.draw(st.booleans(), label="opened again"):
                store.close()
                store = Store(path)

            answers = store.append(batch)

            assert [answer is None for answer in answers] == [slow.append(*each) for each in batch]
        for number in (1, 2):
            assert stored(store, number) == slow.values[number]
            for since, until in itertools.combinations([MIDNIGHT - DAY, *TIMES], 2):
                assert store.moved(number, since, until) == slow.moved(number, since, until)
        store.close()
        assert verify(path) == []


@given(st.lists(_messages, max_size=25), st.lists(st.integers(0, 10), max_size=8))
def test_days_are_what_their_releases_moved(messages: list[Message], steps: list[int]) -> None:
    slow = SlowStore()
    with tempfile.TemporaryDirectory() as directory:
        store = made(Path(directory) / "collector.db", "fra-1", "fra-2")
        now = MIDNIGHT + 4 * DAY
        for message, some in itertools.zip_longest(messages, steps, fillvalue=0):
            if not isinstance(message, int):
                slow.append(*message)
                store.append([message])
            for _ in range(some):
                store.tidy(now, Kept())
            now += HOUR
        # A round that has begun already leaves to the next what is behind it.
        for later in (now, now + HOUR):
            while store.tidy(later, Kept()):
                pass
        for number in (1, 2):
            days = {day.ends_at: day for day in store.days(number, 0, now)}
            there = {-(-at // DAY) * DAY for at in slow.values[number]}
            assert set(days) == there
            for end, day in days.items():
                assert day.moved == slow.moved(number, end - DAY, end)
                inside = [at for at in slow.values[number] if end - DAY < at <= end]
                assert day.releases == len(inside)
                last = slow.values[number][max(inside)]
                assert (day.capacity_bits_per_second, day.started_at) == (
                    last.get(CAPACITY),
                    last.get(START),
                )
        store.close()


_increments = st.tuples(st.integers(0, 3), st.integers(0, 3))
# A node's life: for each of its runs what moved from hour to hour.
_lives = st.lists(st.lists(_increments, min_size=1, max_size=4), min_size=1, max_size=3)


def releases_of(life: list[list[tuple[int, int]]]) -> list[Slice]:
    """What a node with such a life says; a run starts at the hour before its first release."""
    found, at = [], MIDNIGHT
    for run in life:
        start, uplink, tunnel = at, 0, 0
        for up, down in run:
            at, uplink, tunnel = at + HOUR, uplink + up * MIB, tunnel + down * MIB
            found.append(said(at, {UPLINK: uplink, TUNNEL: tunnel, START: start, CAPACITY: 8}))
    return found


@settings(max_examples=200)
@given(_lives, st.data())
def test_what_a_node_moved_is_whole_in_whatever_order_and_parts_it_is_said(
    life: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    parts = []
    for release in releases_of(life):
        values = dict(zip(release.series, release.values, strict=True))
        cut = data.draw(st.sets(st.sampled_from(release.series)), label="cut")
        parts += [
            said(release.at, {each: values[each] for each in some})
            for some in (cut, set(release.series) - cut)
            if some
        ]
    shuffled = data.draw(st.permutations(parts), label="order")
    truth: defaultdict[object, float] = defaultdict(float)
    for run in life:
        truth[UPLINK] += sum(up for up, _ in run) * MIB
        truth[TUNNEL] += sum(down for _, down in run) * MIB

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "collector.db"
        store = made(path)
        for part in shuffled:
            if data.draw(st.booleans(), label="opened again"):
                store.close()
                store = Store(path)
            assert store.append([(1, [part])]) == [None]

        assert {each: location_total(store, each) for each in (UPLINK, TUNNEL)} == truth
        assert store.moved(1, MIDNIGHT, MIDNIGHT + 2 * DAY)[UPLINK] == truth[UPLINK]
        newest = releases_of(life)[-1]
        assert by_series(store.latest())[1] == dict(zip(newest.series, newest.values, strict=True))
        store.close()
        assert verify(path) == []


@settings(max_examples=200)
@given(st.lists(_lives, min_size=1, max_size=2), st.data())
def test_a_sum_over_nodes_never_falls_in_whatever_order_releases_come(
    lives: list[list[list[tuple[int, int]]]], data: st.DataObject
) -> None:
    messages: list[Message] = [
        (number, [release])
        for number, life in enumerate(lives, start=1)
        for release in releases_of(life)
    ]
    shuffled = data.draw(st.permutations(messages), label="order")

    with tempfile.TemporaryDirectory() as directory:
        store = made(Path(directory) / "collector.db", "fra-1", "fra-2")
        before = 0.0
        for batch in in_batches(shuffled, data.draw(st.lists(st.integers(1, 4)), label="sizes")):
            store.append(batch)
            total = location_total(store, UPLINK)
            assert total >= before
            before = total
        assert numbers(store) == [1, 2]
        store.close()


def test_only_counters_are_carried() -> None:
    assert [each for each in SERIES if is_counter(each)] == [UPLINK, TUNNEL, BUCKET]

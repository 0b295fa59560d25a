"""Days are summed up and what is too old goes, step by step, and no sum is changed by it."""

from collections.abc import Iterator
from contextlib import closing
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
    UPLINK,
    execute,
    location_total,
    made,
    released,
    said,
    stored,
)
from trafficd.collector import retention
from trafficd.collector.backup import verify
from trafficd.collector.retention import Kept
from trafficd.collector.store import Store
from trafficd.collector.store_daily import Day

FOR_EVER = Kept(raw_days=None, daily_days=None)
MOST_STEPS = 10_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collector.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(made(path, "fra-1", "fra-2")) as store:
        yield store


def tidy(store: Store, now: float, kept: Kept = FOR_EVER) -> int:
    """Take steps until there is nothing to do, and return how many."""
    for steps in range(MOST_STEPS):
        if not store.tidy(now, kept):
            return steps
    raise AssertionError("it never ends")


def days(store: Store, number: int = 1) -> dict[int, Day]:
    return {each.ends_at: each for each in store.days(number, 0, 1 << 40)}


def run_hours(store: Store, hours: range, number: int = 1) -> None:
    messages = [(number, [released(MIDNIGHT + hour * HOUR, hour)]) for hour in hours]
    assert set(store.append(messages)) == {None}


def test_a_day_has_what_was_moved_in_it(store: Store) -> None:
    run_hours(store, range(49))

    tidy(store, MIDNIGHT + 3 * DAY)

    moved = {end: day.moved[UPLINK] for end, day in days(store).items()}
    # The release of midnight is the end of the day before, and all there was to count from.
    assert moved == {MIDNIGHT: 0, MIDNIGHT + DAY: 24 * MIB, MIDNIGHT + 2 * DAY: 24 * MIB}
    last = days(store)[MIDNIGHT + 2 * DAY]
    assert (last.releases, last.capacity_bits_per_second) == (24, 1e10)
    assert last.started_at == MIDNIGHT - DAY


def test_a_day_is_not_summed_up_before_it_is_over_and_nodes_had_time_to_say_so(
    store: Store,
) -> None:
    run_hours(store, range(25))

    tidy(store, MIDNIGHT + DAY + HOUR - 1)
    # The day before is over for long.
    assert list(days(store)) == [MIDNIGHT]
    tidy(store, MIDNIGHT + DAY + 2 * HOUR)

    assert list(days(store)) == [MIDNIGHT, MIDNIGHT + DAY]


def test_a_release_that_comes_late_has_its_day_and_the_next_summed_up_anew(store: Store) -> None:
    # The end of the first day is missing, so that all is counted to the second.
    run_hours(store, range(20))
    run_hours(store, range(30, 49))
    tidy(store, MIDNIGHT + 3 * DAY)
    before = {end: day.moved[UPLINK] for end, day in days(store).items()}

    run_hours(store, range(24, 25))
    tidy(store, MIDNIGHT + 3 * DAY + HOUR)

    assert before == {MIDNIGHT: 0, MIDNIGHT + DAY: 19 * MIB, MIDNIGHT + 2 * DAY: 29 * MIB}
    after = {end: day.moved[UPLINK] for end, day in days(store).items()}
    assert after == {MIDNIGHT: 0, MIDNIGHT + DAY: 24 * MIB, MIDNIGHT + 2 * DAY: 24 * MIB}


def test_a_backlog_of_days_that_are_over_is_summed_up_too(store: Store) -> None:
    run_hours(store, range(49))
    tidy(store, MIDNIGHT + 3 * DAY)

    run_hours(store, range(49), number=2)
    tidy(store, MIDNIGHT + 3 * DAY + HOUR)

    assert days(store, 2) == days(store, 1)


def test_a_backlog_has_its_days_summed_up_once_in_a_while(store: Store) -> None:
    run_hours(store, range(49))
    now = MIDNIGHT + 3 * DAY
    tidy(store, now)
    run_hours(store, range(9), number=2)
    tidy(store, now + HOUR)

    steps = []
    for hour in range(9, 20):
        run_hours(store, range(hour, hour + 1), number=2)
        steps.append(tidy(store, now + HOUR + hour))
    tidy(store, now + 2 * HOUR)

    assert steps == [0] * 11
    assert days(store, 2)[MIDNIGHT + DAY].releases == 19


def test_a_release_that_comes_while_its_time_is_marked_is_summed_up_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_MARKS_A_STEP", 2)
    names = [f"fra-{number}" for number in range(7)]
    with closing(made(tmp_path / "many.db", *names)) as store:
        release, before = released(MIDNIGHT + DAY, 3), released(MIDNIGHT, 1)
        store.append([(number, [each]) for each in (before, release) for number in range(2, 8)])
        tidy(store, MIDNIGHT + DAY)
        assert store.tidy(MIDNIGHT + 2 * DAY, FOR_EVER)

        store.append([(1, [before]), (1, [release])])
        tidy(store, MIDNIGHT + 2 * DAY)

        moved = [days(store, number)[MIDNIGHT + DAY].moved[UPLINK] for number in range(1, 8)]
        assert moved == [2 * MIB] * 7


def test_totals_beyond_all_numbers_stop_nobodys_days(store: Store) -> None:
    # Three runs on one day, each of which says that it moved nearly all that a double can say.
    for hour in (1, 2, 3):
        lie = {START: MIDNIGHT + (hour - 1) * HOUR, UPLINK: 1.7e308}
        assert store.append([(1, [said(MIDNIGHT + hour * HOUR, lie)])]) == [None]
    run_hours(store, range(25), number=2)

    tidy(store, MIDNIGHT + 2 * DAY)

    assert days(store, 2)[MIDNIGHT + DAY].moved[UPLINK] == 24 * MIB
    assert days(store, 1)[MIDNIGHT + DAY].moved[UPLINK] > 1.7e308


def test_old_releases_go_and_their_days_stay(store: Store, path: Path) -> None:
    run_hours(store, range(40 * 24))
    now = MIDNIGHT + 40 * DAY
    tidy(store, now)
    before = days(store), location_total(store, UPLINK)

    tidy(store, now, Kept(raw_days=32))

    assert min(stored(store, 1)) == MIDNIGHT + 8 * DAY + HOUR
    assert (days(store), location_total(store, UPLINK)) == before
    store.close()
    assert verify(path) == []


def test_facts_go_with_the_last_release_that_has_them(store: Store, path: Path) -> None:
    for hour in range(40 * 24):
        at, day = MIDNIGHT + hour * HOUR, hour // 24
        assert store.append([(1, [said(at, {UPLINK: hour, BUCKET: day, START: 5})])]) == [None]

    tidy(store, MIDNIGHT + 40 * DAY, Kept(raw_days=32))

    numbers = execute(path, "SELECT count(*) FROM facts")
    assert numbers == execute(path, "SELECT count(DISTINCT facts) FROM release")
    assert numbers == [(32,)]


def test_facts_that_come_back_stay_as_long_as_they_are_used(store: Store, path: Path) -> None:
    for day in range(40):
        capacity = 8 if day == 1 else 9
        values = {UPLINK: day, CAPACITY: capacity, START: 5}
        assert store.append([(1, [said(MIDNIGHT + day * DAY, values)])]) == [None]

    tidy(store, MIDNIGHT + 40 * DAY, Kept(raw_days=32))

    assert execute(path, "SELECT count(*) FROM facts") == [(1,)]
    assert verify(path) == []


def test_where_a_node_stands_stays_however_old_it_is(store: Store, path: Path) -> None:
    run_hours(store, range(10))
    now = MIDNIGHT + 1000 * DAY
    run_hours(store, range(999 * 24, 1000 * 24), number=2)

    tidy(store, now, Kept(raw_days=32, daily_days=32))

    assert list(stored(store, 1)) == [MIDNIGHT + 9 * HOUR]
    assert list(days(store)) == [MIDNIGHT + DAY]
    store.close()
    with closing(Store(path)) as again:
        assert next(each.at for _, each in again.latest()) == MIDNIGHT + 9 * HOUR
        # It comes back, in another run, and nothing of what it had moved is lost.
        back = released(now - HOUR, 2, start=now - DAY)
        assert again.append([(1, [back])]) == [None]
        assert location_total(again, UPLINK) == (9 + 2 + 1000 * 24 - 1) * MIB
    assert verify(path) == []


@pytest.mark.parametrize("start", [MIDNIGHT - DAY, MIDNIGHT + 90 * DAY])
def test_a_node_that_was_away_for_longer_than_releases_are_kept_goes_on(
    store: Store, path: Path, start: int
) -> None:
    kept = Kept(raw_days=32, daily_days=None)
    run_hours(store, range(1, 25))
    tidy(store, MIDNIGHT + 100 * DAY, kept)
    # It comes back, after a boot or with more moved meanwhile, and with more of a port.
    back = MIDNIGHT + 100 * DAY + HOUR
    values = {START: float(start), CAPACITY: 4e10, UPLINK: 50.0 * MIB}
    assert store.append([(1, [said(back, values)])]) == [None]

    tidy(store, back + HOUR, kept)
    before = stored(store, 1)
    tidy(store, back + 2 * DAY, kept)

    assert [UPLINK in values for values in before.values()] == [True, True]
    moved = 50 if start > MIDNIGHT else 50 - 24
    assert days(store)[MIDNIGHT + 101 * DAY].moved[UPLINK] == moved * MIB
    assert list(stored(store, 1)) == [back]
    assert verify(path) == []


def test_nothing_is_deleted_while_its_day_waits_to_be_summed_up(store: Store) -> None:
    run_hours(store, range(30 * 24))
    run_hours(store, range(9 * 24, 12 * 24), number=2)
    now = MIDNIGHT + 30 * DAY
    tidy(store, now)
    run_hours(store, range(5 * 24, 6 * 24), number=2)

    # Much later, but the round before has just begun, as far as anybody knows.
    store._retention._round_began_at = now + 20 * DAY
    tidy(store, now + 20 * DAY, Kept(raw_days=32))
    waiting = stored(store, 2)
    tidy(store, now + 20 * DAY + HOUR, Kept(raw_days=32))

    assert len(waiting) == 24 + 3 * 24
    assert days(store, 2)[MIDNIGHT + 6 * DAY].releases == 23


def test_what_is_older_than_what_is_kept_is_refused(store: Store) -> None:
    run_hours(store, range(40 * 24))
    tidy(store, MIDNIGHT + 40 * DAY, Kept(raw_days=32))

    (answer,) = store.append([(2, [released(MIDNIGHT + 5 * DAY, 1)])])

    assert answer is not None
    assert "before the history that is kept" in answer
    assert store.append([(2, [released(MIDNIGHT + 9 * DAY, 1)])]) == [None]


def test_a_day_keeps_what_it_counted_from_more_than_is_there_still(store: Store) -> None:
    # The release that the first day kept is counted from is gone by now.
    run_hours(store, range(40 * 24))
    now = MIDNIGHT + 41 * DAY
    tidy(store, now, Kept(raw_days=32))
    before = days(store)

    late = released(MIDNIGHT + 9 * DAY + HOUR // 2, 9 * 24)
    assert store.append([(1, [late])]) == [None]
    tidy(store, now + HOUR, Kept(raw_days=32))

    assert days(store) == before


def test_old_days_go_when_they_are_not_kept_for_ever(store: Store) -> None:
    run_hours(store, range(40 * 24))

    tidy(store, MIDNIGHT + 40 * DAY + 2 * HOUR, Kept(raw_days=32, daily_days=35))

    assert min(days(store)) == MIDNIGHT + 6 * DAY


def test_what_one_step_does_is_bounded(store: Store) -> None:
    run_hours(store, range(40 * 24))
    now = MIDNIGHT + 40 * DAY
    most = 0
    while True:
        before = store._connection.total_changes
        if not store.tidy(now, Kept(raw_days=32)):
            break
        most = max(most, store._connection.total_changes - before)

    assert most <= 600


def test_freed_pages_are_used_again(store: Store, path: Path) -> None:
    kept = Kept(raw_days=32)
    sizes = []
    for day in range(120):
        run_hours(store, range(day * 24, day * 24 + 24))
        tidy(store, MIDNIGHT + (day + 1) * DAY + HOUR, kept)
        sizes.append(store._connection.execute("PRAGMA page_count").fetchone()[0])

    # 80 days more of days and runs, and none of releases.
    assert sizes[119] - sizes[40] <= 20

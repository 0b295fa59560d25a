from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.collector.storing import DAY, HOUR, MIB, execute, made, numbers, said
from tests.planning.alike import assert_same_days, assert_same_windows
from trafficd.collector.retention import Kept
from trafficd.collector.slices import Slice
from trafficd.collector.store import Store
from trafficd.errors import HistoryError
from trafficd.planning.daily import Floats
from trafficd.planning.node_history import SLOT_DAYS, NodeDays, NodeWindows
from trafficd.planning.sqlite_history import SqliteHistory
from trafficd.releases import Release, Totals, Utilisation
from trafficd.schema import UTILISATION_BOUNDS
from trafficd.series import Series, series_of

FIRST = 20_000
MIDNIGHT = FIRST * DAY
CAPACITY = 10**9
NAMES = {
    "uplink": ("trafficd_uplink_receive_bytes_total", "trafficd_uplink_transmit_bytes_total"),
    "tunnel": ("trafficd_tunnel_receive_bytes_total", "trafficd_tunnel_transmit_bytes_total"),
}


def day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=FIRST + number)


def released(
    at: int, mib: int, *, start: int = MIDNIGHT - DAY, capacity: int = CAPACITY, vpn: bool = True
) -> Slice:
    """A release of a node whose counters all tell how many MiB it moved, and its slots the days."""
    moved, back = Totals(mib * MIB, 2 * mib * MIB), Totals(3 * mib * MIB, 4 * mib * MIB)
    passed = max(0, at // DAY - start // DAY)
    slots = tuple(passed * (number + 1) for number in range(len(UTILISATION_BOUNDS)))
    classes = (("openvpn", moved), ("wireguard", back))[: 2 if vpn else 1]
    release = Release(at, start, capacity, back, moved, classes, Utilisation(slots, slots[::-1]))
    return said(at, dict(series_of(release)))


def hourly(days: float, *, since: int = MIDNIGHT, start: int = MIDNIGHT - DAY) -> Iterator[Slice]:
    """Releases hour by hour, each of which moved some more than the one before."""
    for hour in range(1, round(days * 24) + 1):
        yield released(since + hour * HOUR, hour * (hour + 1) // 2, start=start)


def fill(store: Store, number: int, slices: Iterable[Slice]) -> None:
    answers = store.append([(number, [each]) for each in slices])
    assert set(answers) == {None}


def tidy(store: Store, now: int, kept: Kept | None = None) -> None:
    # Twice, as what is late is summed up in the next round.
    for moment in (now, now + HOUR):
        while store.tidy(moment, kept or Kept()):
            pass


def slow_days(store: Store, name: str, since: int, until: int) -> dict[int, dict[str, float]]:
    """What the store's own reader says of each day with a release."""
    number = next(each.node.number for each in store.nodes() if each.node.name == name)
    found = {}
    for end in range(since + DAY, until + DAY, DAY):
        releases = list(store.history(number, end - DAY, end))
        if releases:
            moved = store.moved(number, end - DAY, end)
            found[end // DAY - 1 - FIRST] = {
                **{str(each): float(value) for each, value in moved.items()},
                "releases": len(releases),
            }
    return found


def assert_as_slow(days: NodeDays, slow: dict[int, dict[str, float]]) -> None:
    for number in range(days.days):
        told = slow.get((days.first - day(0)).days + number)
        assert days.releases[number] == (told["releases"] if told else 0)
        for pair, names in ((days.uplink, NAMES["uplink"]), (days.tunnel, NAMES["tunnel"])):
            for values, name in zip((pair.receive, pair.transmit), names, strict=True):
                np.testing.assert_equal(values[number], told[name] if told else np.nan)
        for name, pair in days.classes.items():
            for values, way in ((pair.receive, "receive"), (pair.transmit, "transmit")):
                key = str(Series(f"trafficd_class_{way}_bytes_total", (("class", name),)))
                np.testing.assert_equal(values[number], told.get(key, np.nan) if told else np.nan)
    assert days.days == max(slow) - min(slow) + 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def test_days_are_as_the_store_sums_them_up_with_a_restart_a_gap_and_nodes_that_come_and_go(
    path: Path,
) -> None:
    store = made(path, "ams-1", "fra-1", "lon-1")
    restarted = MIDNIGHT + 5 * DAY + 7 * HOUR
    before = [each for each in hourly(12) if each.at <= restarted or each.at > restarted + 3 * DAY]
    for number, slices in zip(
        numbers(store),
        (
            [*hourly(4), *hourly(3, since=restarted, start=restarted)],
            before,
            hourly(2.5, since=MIDNIGHT + 4 * DAY + HOUR * 5),
        ),
        strict=True,
    ):
        fill(store, number, slices)
    tidy(store, MIDNIGHT + 7 * DAY + 2 * HOUR)

    # The last days are not summed up yet, and are told from the releases.
    found = SqliteHistory(path).days(day(11))

    assert [each.node for each in found] == ["ams-1", "fra-1", "lon-1"]
    for each in found:
        assert_as_slow(each, slow_days(store, each.node, MIDNIGHT - DAY, MIDNIGHT + 12 * DAY))
    assert [each.window_seconds for each in found] == [HOUR] * 3
    assert [each.first for each in found] == [day(0), day(0), day(4)]
    assert [each.last_release_at for each in found] == [
        restarted + 3 * DAY, MIDNIGHT + 12 * DAY, MIDNIGHT + 4 * DAY + 65 * HOUR
    ]  # fmt: skip
    assert np.isnan(found[1].uplink.receive[6]), "a day without a release"
    store.close()


def test_slots_are_what_the_buckets_moved_and_give_the_percentile(path: Path) -> None:
    store = made(path)
    fill(store, 1, hourly(3))
    tidy(store, MIDNIGHT + 4 * DAY)

    (found,) = SqliteHistory(path).days(day(2))

    each_day = np.arange(1, len(UTILISATION_BOUNDS) + 1)
    # The first day's are of before the first release, in part.
    assert (found.slots.receive[1:] == each_day).all()
    assert (found.slots.transmit[1:] == each_day[::-1]).all()
    assert found.slots.first == day(0)
    assert found.capacity.tolist() == [CAPACITY] * 3
    # Rank 633 of 666 slots: all but 36 of them, in the bucket above 100 %, are 630.
    assert found.p95.receive[1] == CAPACITY
    store.close()


def test_only_the_last_days_keep_their_slots_and_all_their_percentile(path: Path) -> None:
    store = made(path)
    daily = [
        released(MIDNIGHT + number * DAY, number) for number in range(1, SLOT_DAYS + 20)
    ]  # fmt: skip
    fill(store, 1, daily)
    tidy(store, MIDNIGHT + 200 * DAY, Kept(raw_days=None))

    (found,) = SqliteHistory(path).days(day(150))

    assert found.days == SLOT_DAYS + 19
    assert len(found.slots.receive) == len(found.slots.transmit) == SLOT_DAYS
    assert found.slots.first == day(19)
    assert not np.isnan(found.p95.receive[1:]).any()
    assert found.window_seconds == DAY
    store.close()


def test_a_day_without_a_capacity_has_none_and_no_percentile(path: Path) -> None:
    store = made(path)
    fill(store, 1, [released(MIDNIGHT + hour * HOUR, hour, capacity=0) for hour in range(1, 49)])
    tidy(store, MIDNIGHT + 3 * DAY)

    (found,) = SqliteHistory(path).days(day(1))

    assert found.capacity.tolist() == [0, 0]
    assert np.isnan(found.p95.receive).all()
    store.close()


def test_a_node_that_said_nothing_is_left_out_and_a_revoked_one_is_not(path: Path) -> None:
    store = made(path, "fra-1", "fra-2")
    fill(store, 2, hourly(2))
    store.revoke_node("fra-2")

    found = SqliteHistory(path).days(day(1))

    assert [(each.node, each.is_active) for each in found] == [("fra-2", False)]
    store.close()


def changes(store: Store) -> Iterator[None]:
    """What happens to a file while its history is asked for again and again."""
    first, second = numbers(store)
    slices = list(hourly(100))
    late = slices[50 * 24 : 51 * 24]
    fill(store, first, slices[: 50 * 24] + slices[51 * 24 : 60 * 24])
    yield
    tidy(store, MIDNIGHT + 60 * DAY)
    yield
    fill(store, first, slices[60 * 24 : 61 * 24])
    fill(store, second, slices[60 * 24 : 61 * 24])
    yield
    fill(store, first, late)
    yield
    tidy(store, MIDNIGHT + 62 * DAY)
    yield
    # Long after, as when a history is loaded.
    fill(store, second, slices[: 5 * 24])
    yield
    tidy(store, MIDNIGHT + 63 * DAY)
    yield
    fill(store, second, slices[61 * 24 : 100 * 24])
    tidy(store, MIDNIGHT + 101 * DAY, Kept(raw_days=32, daily_days=80))
    yield
    store.add_node("zrh-1", "zrh", b"z" * 32)
    store.revoke_node("fra-1")
    yield


def test_what_is_read_again_is_what_is_read_for_the_first_time(path: Path) -> None:
    store = made(path, "fra-1", "ams-1")
    history = SqliteHistory(path)

    for step, _ in enumerate(changes(store)):
        until = day(min(99, 58 + step))
        again = history.days(until)
        assert_same_days(again, SqliteHistory(path).days(until))

    assert_same_days(history.days(day(40)), SqliteHistory(path).days(day(40)))
    store.close()


def test_days_given_out_stay_as_they_are(path: Path) -> None:
    store = made(path)
    history = SqliteHistory(path)
    slices = list(hourly(3))
    fill(store, 1, slices[:20] + slices[30:])
    given = history.days(day(2))
    copied = [replace(each, releases=each.releases.copy()) for each in given]

    fill(store, 1, slices[20:30])
    again = history.days(day(2))

    assert_same_days(given, copied)
    assert again[0].releases.tolist() == [24, 24, 24]
    store.close()


def slow_windows(slices: list[Slice], since: int, until: int, window: int) -> Floats:
    """What the uplinks received from grid point to grid point."""
    said_at = {each.at: dict(zip(each.series, each.values, strict=True)) for each in slices}
    start = Series("trafficd_start_timestamp_seconds")
    total = Series(NAMES["uplink"][0])
    moved = []
    for before, after in pairwise(range(since, until + window, window)):
        first, second = said_at.get(before), said_at.get(after)
        if first is None or second is None:
            moved.append(np.nan)
        elif first[start] != second[start] or second[total] < first[total]:
            moved.append(second[total])
        else:
            moved.append(second[total] - first[total])
    return np.array(moved)


def test_windows_begin_anew_with_a_run_and_lack_what_no_release_tells(path: Path) -> None:
    store = made(path, "fra-1", "lon-1", "old-1")
    restarted = MIDNIGHT + DAY + 7 * HOUR
    slices = [*hourly(1.25), *hourly(1.5, since=restarted, start=restarted)]
    slices = [each for each in slices if each.at != MIDNIGHT + 4 * HOUR]
    fill(store, 1, slices)
    short = [released(MIDNIGHT + DAY + number * 300, number) for number in range(1, 300)]
    fill(store, 2, short)
    fill(store, 3, hourly(1, since=MIDNIGHT - DAY))

    since, until = MIDNIGHT + HOUR, MIDNIGHT + 3 * DAY
    found = SqliteHistory(path).windows(since, until)

    assert [(each.node, each.window_seconds) for each in found] == [("fra-1", HOUR), ("lon-1", 300)]
    for each, source in zip(found, (slices, short), strict=True):
        assert each.first_at == since
        told = slow_windows(source, since, until, each.window_seconds)
        np.testing.assert_array_equal(each.uplink.receive, told)
        # By how much more a release states of each.
        np.testing.assert_array_equal(each.tunnel.receive, told / 3)
        np.testing.assert_array_equal(each.tunnel.transmit, told / 3 * 2)
        np.testing.assert_array_equal(each.uplink.transmit, told / 3 * 4)
    assert np.count_nonzero(~np.isnan(found[0].uplink.receive)) > 40
    store.close()


def test_a_total_that_falls_begins_anew_whatever_start_is_stated(path: Path) -> None:
    store = made(path, "fra-1")
    totals = [10, 30, 5, 12]
    fill(store, 1, [released(MIDNIGHT + (n + 1) * HOUR, mib) for n, mib in enumerate(totals)])

    (found,) = SqliteHistory(path).windows(MIDNIGHT + HOUR, MIDNIGHT + 4 * HOUR)

    np.testing.assert_array_equal(found.tunnel.receive, [20 * MIB, 5 * MIB, 7 * MIB])
    store.close()


def test_a_node_that_left_within_has_its_own_window(path: Path) -> None:
    store = made(path, "fra-1", "lon-1")
    fill(store, 1, hourly(9))
    fill(store, 2, [released(MIDNIGHT + number * 2 * HOUR, number) for number in range(1, 12)])

    found = SqliteHistory(path).windows(MIDNIGHT, MIDNIGHT + 9 * DAY)

    assert [each.window_seconds for each in found] == [HOUR, 2 * HOUR]
    assert np.nansum(found[1].tunnel.receive) == 10 * MIB
    store.close()


def test_windows_do_not_depend_on_where_chunks_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(path, "fra-1", "lon-1")
    for number in numbers(store):
        fill(store, number, hourly(2))
    whole = SqliteHistory(path).windows(MIDNIGHT, MIDNIGHT + 2 * DAY)

    monkeypatch.setattr("trafficd.collector.store_reading._CHUNK", 3)
    found: list[NodeWindows] = SqliteHistory(path).windows(MIDNIGHT, MIDNIGHT + 2 * DAY)

    assert_same_windows(found, whole)
    store.close()


def test_a_file_that_is_not_there_or_damaged_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="no such file"):
        SqliteHistory(path).days(day(0))
    other = tmp_path / "other"
    other.write_bytes(b"no database" * 100)
    with pytest.raises(HistoryError, match="not a database"):
        SqliteHistory(other).windows(MIDNIGHT, MIDNIGHT + DAY)
    store = made(path)
    fill(store, 1, hourly(2))
    tidy(store, MIDNIGHT + 3 * DAY)
    store.close()
    history = SqliteHistory(path)
    before = history.days(day(1))
    execute(path, "UPDATE daily SET body = x'0102'")

    with pytest.raises(HistoryError, match="damaged"):
        history.days(day(1))

    execute(path, "DELETE FROM daily")
    execute(path, "DELETE FROM progress")
    assert_same_days(history.days(day(1)), before)
    execute(path, "UPDATE release SET body = zeroblob(10000)")
    with pytest.raises(HistoryError, match="damaged"):
        history.windows(MIDNIGHT, MIDNIGHT + DAY)


def test_days_that_are_the_same_are_not_made_again(path: Path) -> None:
    store = made(path)
    history = SqliteHistory(path)
    fill(store, 1, hourly(60))
    tidy(store, MIDNIGHT + 61 * DAY)
    (before,) = history.days(day(59))

    fill(store, 1, [released(MIDNIGHT + 61 * DAY, 4000)])
    store.revoke_node("fra-1")
    (after,) = history.days(day(59))

    assert after.uplink.receive is before.uplink.receive
    assert (after.last_release_at, after.is_active) == (MIDNIGHT + 61 * DAY, False)
    assert_same_days([after], SqliteHistory(path).days(day(59)))
    store.close()


def test_a_marked_day_whose_releases_are_gone_stays_as_it_was_summed_up(path: Path) -> None:
    store = made(path, "fra-1", "fra-2")
    fill(store, 1, hourly(50))
    tidy(store, MIDNIGHT + 51 * DAY, Kept(raw_days=32))
    before = SqliteHistory(path).days(day(49))

    # Of days before those that are kept, and of a node that never said anything.
    execute(path, f"INSERT INTO stale VALUES ({FIRST + 3}, 1), ({FIRST + 3}, 2)")

    assert_same_days(SqliteHistory(path).days(day(49)), before)
    store.close()


def test_what_a_release_lacks_is_not_known_of_its_windows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trafficd.planning.sqlite_history._MOST_STARTS", 0)
    monkeypatch.setattr("trafficd.collector.store_reading._CHUNK", 2)
    store = made(path)
    uplink = Series(NAMES["uplink"][0])
    fill(store, 1, [said(MIDNIGHT + hour * HOUR, {uplink: hour * MIB}) for hour in range(1, 6)])

    (found,) = SqliteHistory(path).windows(MIDNIGHT, MIDNIGHT + 5 * HOUR)

    np.testing.assert_array_equal(found.uplink.receive, [np.nan] + [MIB] * 4)
    assert np.isnan(found.tunnel.transmit).all()
    store.close()

"""How uplinks are used: shares of slots, the busy hour, peaks, overhead and classes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.billed import APRIL, NAN, counts, node_days, node_windows
from trafficd.planning.daily import Floats
from trafficd.planning.node_history import Pair
from trafficd.planning.summed import sum_windows
from trafficd.planning.utilisation import (
    THRESHOLD_PERCENTS,
    BusyHour,
    Overhead,
    Ratios,
    busy_hour,
    class_mix,
    full,
    overhead,
    peak_to_mean,
    utilisation,
)

CAPACITY = 3e9
# Bytes that a slot moves at the whole capacity, and steps of it of which bounds are whole numbers.
WHOLE = CAPACITY * 300 / 8
PERCENTS = st.one_of(st.sampled_from(THRESHOLD_PERCENTS), st.integers(1, 110))
SLOTS = st.lists(st.tuples(PERCENTS, PERCENTS), min_size=1, max_size=50)


def pair(receive: list[float], transmit: list[float]) -> Pair:
    return Pair(np.array(receive, float), np.array(transmit, float))


@given(SLOTS)
def test_slots_above_a_threshold_are_counted_and_one_at_it_is_not(
    slots: list[tuple[int, int]],
) -> None:
    receive, transmit = ([slot[direction] for slot in slots] for direction in (0, 1))
    windows = node_windows(np.array(receive) * WHOLE / 100, np.array(transmit) * WHOLE / 100)
    table = [
        [counts([CAPACITY * each / 100 for each in direction], CAPACITY)]
        for direction in (receive, transmit)
    ]
    days = node_days(*table, capacity=[CAPACITY])

    by_slots = full([windows], [days], APRIL)
    by_counts = full([], [days], APRIL)

    expected = {
        percent: Ratios(
            sum(each > percent for each in receive) / len(slots),
            sum(each > percent for each in transmit) / len(slots),
        )
        for percent in THRESHOLD_PERCENTS
    }
    assert by_slots.above == by_counts.above == expected
    assert by_slots.slots_seen == by_counts.slots_seen == len(slots)


@pytest.mark.parametrize("none", [0.0, NAN])
def test_days_without_a_capacity_are_not_full_nor_empty(none: float) -> None:
    busy = counts([CAPACITY] * 288, CAPACITY)
    days = node_days([busy, busy, busy], capacity=[CAPACITY, none])
    windows = node_windows(np.full(3 * 288, WHOLE))

    by_slots = full([windows], [days], APRIL)
    by_counts = full([], [days], APRIL)

    assert by_slots == by_counts
    assert by_counts.slots_seen == 288
    assert by_counts.above[90] == Ratios(1.0, 1.0)


def test_nothing_seen_is_no_share() -> None:
    days = node_days([], capacity=[])

    found = utilisation([], [days], APRIL)

    assert found.full.above[50] == Ratios(None, None)
    assert found.full.slots_seen == 0
    assert found.busy_hour.reason == "nothing moved in the windows that are known"
    assert found.peak_to_mean == Ratios(None, None)
    assert found.overhead == Overhead(None, None, None)
    assert found.classes == {}
    assert found.window_seconds == 300


@pytest.mark.parametrize("seconds", [300, 900, 3600])
def test_the_busy_hour_is_the_one_with_the_highest_mean_of_the_days_seen(seconds: int) -> None:
    windows = 3 * 86400 // seconds
    hour = np.arange(windows) * seconds // 3600 % 24
    moved = np.where(hour == 20, 50.0, 10.0) * seconds
    moved[hour == 4] = NAN
    # Higher than 20 h on one day, and lower on the others.
    moved[(hour == 7) & (np.arange(windows) * seconds < 86400)] = 90.0 * seconds

    found = busy_hour(sum_windows([node_windows(moved, seconds=seconds)], APRIL))

    assert found == BusyHour(20, 2 * 50.0 * 8, "")


@pytest.mark.parametrize("seconds", [7200, 86400, 2400])
def test_windows_that_do_not_divide_an_hour_tell_no_busy_hour(seconds: int) -> None:
    windows = node_windows(np.ones(10), seconds=seconds)

    found = busy_hour(sum_windows([windows], APRIL))

    reason = f"windows of {seconds // 60} minutes do not tell one hour from another"
    assert found == BusyHour(None, None, reason)


def test_a_peak_stands_to_the_mean_of_what_is_known() -> None:
    windows = node_windows([1.0, 2.0, NAN, 6.0], [1.0, 1.0, NAN, 1.0])
    still = node_windows([0.0, 0.0])

    assert peak_to_mean(sum_windows([windows], APRIL)) == Ratios(2.0, 1.0)
    assert peak_to_mean(sum_windows([still], APRIL)) == Ratios(None, None)


def test_overhead_is_of_the_days_on_which_both_are_known() -> None:
    days = node_days(
        [],
        capacity=[CAPACITY] * 3,
        uplink=pair([110.0, NAN, 120.0], [300.0, 9.0, 300.0]),
        tunnel=pair([100.0, 50.0, 100.0], [200.0, 50.0, 200.0]),
    )

    assert overhead([days], APRIL) == Overhead(230 / 200 - 1, 600 / 400 - 1, 830 / 600 - 1)


def test_tunnels_that_moved_nothing_have_no_overhead() -> None:
    nothing = pair([0.0], [0.0])
    days = node_days([], capacity=[CAPACITY], uplink=pair([5.0], [5.0]), tunnel=nothing)

    assert overhead([days], APRIL) == Overhead(None, None, None)


def test_classes_have_shares_of_both_directions_on_days_within_the_period() -> None:
    before: Floats = np.full(1, 1e9)
    classes = {
        "wireguard": Pair(np.append(before, [10.0, 20.0]), np.append(before, [30.0, 0.0])),
        "openvpn": Pair(np.append(before, [NAN, 10.0]), np.append(before, [NAN, 30.0])),
        "l2tp": Pair(np.append(before, [0.0, 0.0]), np.append(before, [0.0, 0.0])),
    }
    days = node_days([], capacity=[CAPACITY] * 3, classes=classes)
    one_later = type(APRIL)(APRIL.begin + 3600, APRIL.end)

    found = class_mix([days], one_later)

    assert found == {"l2tp": 0.0, "openvpn": 0.4, "wireguard": 0.6}


def test_a_node_is_described_by_its_slots_where_its_windows_are_as_long() -> None:
    days = node_days([counts([0.0] * 288, CAPACITY)], capacity=[CAPACITY])
    moved = np.full(288, WHOLE)

    slots = utilisation([node_windows(moved)], [days], APRIL)
    hours = utilisation([node_windows(moved[:24], seconds=3600)], [days], APRIL)

    assert slots.full.above[90] == Ratios(1.0, 1.0)
    assert hours.full.above[50] == Ratios(0.0, 0.0)
    assert (slots.window_seconds, hours.window_seconds) == (300, 3600)


def test_a_few_slots_of_short_windows_give_way_to_the_counts_of_all() -> None:
    days = node_days([counts([0.0] * 288, CAPACITY)] * 30, capacity=[CAPACITY] * 30)
    moved = np.full(30 * 288, NAN)
    moved[-288:] = WHOLE

    found = full([node_windows(moved)], [days], APRIL)

    assert found.slots_seen == 30 * 288
    assert found.above[90] == Ratios(0.0, 0.0)


def test_several_nodes_are_described_together() -> None:
    # 288 slots of one are full, of 864 in all.
    a = replace(
        node_days(
            [counts([CAPACITY] * 288, CAPACITY)],
            capacity=[CAPACITY],
            uplink=pair([110.0], [60.0]),
            tunnel=pair([100.0], [50.0]),
            classes={"wireguard": pair([100.0], [20.0])},
        ),
        node="a",
    )
    b = replace(
        node_days(
            [],
            capacity=[10 * CAPACITY] * 2,
            uplink=pair([90.0, NAN], [50.0, 1.0]),
            tunnel=pair([50.0, 1.0], [50.0, 1.0]),
            classes={"wireguard": pair([50.0, 0.0], [10.0, 0.0]), "l2tp": pair([0, 0], [20.0, 0])},
        ),
        node="b",
    )
    windows = node_windows(np.full(576, WHOLE), node="b")

    found = utilisation([windows], [a, b], APRIL)

    assert found.full.slots_seen == 864
    assert found.full.above[90] == Ratios(288 / 864, 288 / 864)
    assert found.overhead == Overhead(200 / 150 - 1, 110 / 100 - 1, 310 / 250 - 1)
    assert found.classes == {"l2tp": 0.1, "wireguard": 0.9}

"""Percentiles of a period, of nodes and of sums, and all that is said with them."""

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.billed import APRIL, DAY, FIRST, NAN, counts, node_days, node_windows
from trafficd.planning.billing import (
    Bound,
    Percentiles,
    Resolution,
    node_measured,
    node_percentiles,
    summed_measured,
    summed_percentiles,
    was_there,
)
from trafficd.planning.percentile import Above, Estimate, Method, percentile_95
from trafficd.planning.period import Period, billing_period, time_zone
from trafficd.schema import ROUNDING_BYTES

CAPACITY = 10e9
NO_DAYS = node_days([], capacity=[])
FULL_DAY = counts([3e9] * 288, CAPACITY)


def rate(moved: float) -> float:
    """Return the bits per second of so many bytes in a slot."""
    return moved * 8 / 300


def test_slots_of_five_minutes_are_ranked_each_direction_for_itself_and_summed() -> None:
    chance = np.random.default_rng(3)
    receive, transmit = chance.integers(1, 10**12, (2, 8640)).astype(float)

    found = node_percentiles(node_windows(receive, transmit), NO_DAYS, APRIL, Method.CEIL)

    unit = rate(ROUNDING_BYTES)
    at = 8208 - 1
    assert found.receive == Estimate(rate(sorted(receive)[at]), unit)
    assert found.transmit == Estimate(rate(sorted(transmit)[at]), unit)
    assert found.both == Estimate(sorted(receive * 8 / 300 + transmit * 8 / 300)[at], 2 * unit)
    assert found.highest == max(found.receive, found.transmit, key=lambda each: each.value)
    assert (found.slots_seen, found.slots_expected) == (8640, 8640)
    assert (found.resolution, found.window_seconds) == (Resolution.SLOTS, 300)
    assert (found.upper, found.notes) == (None, ())


@pytest.mark.parametrize(("method", "at"), [(Method.CEIL, 7935), (Method.LIBRENMS, 7934)])
def test_a_leap_february_is_ranked_as_each_method_does(method: Method, at: int) -> None:
    period = billing_period(datetime(2028, 2, 10, tzinfo=UTC).date(), 1, UTC)
    moved = np.random.default_rng(4).permutation(np.arange(1.0, 8353.0))
    windows = node_windows(moved, first_at=period.begin)

    found = node_percentiles(windows, NO_DAYS, period, method)

    assert found.receive
    assert found.receive.value == pytest.approx(rate(at))
    assert found.slots_seen == found.slots_expected == 8352


@given(st.lists(st.one_of(st.just(NAN), st.integers(1, 10**6)), min_size=1, max_size=60))
def test_gaps_are_neither_ranked_nor_seen(moved: list[float]) -> None:
    found = node_percentiles(node_windows(moved), NO_DAYS, APRIL, Method.CEIL)

    known = [each for each in moved if each == each]
    assert (found.slots_seen, found.slots_expected) == (len(known), 8640)
    if known:
        expected = rate(percentile_95(np.array(known), Method.CEIL))
        assert found.receive
        assert found.receive.value == pytest.approx(expected)
    else:
        assert found.receive is found.transmit is found.both is found.highest is None


def test_a_period_of_nothing_moved_has_a_percentile_of_nothing() -> None:
    found = node_percentiles(node_windows(np.zeros(8640)), NO_DAYS, APRIL, Method.CEIL)

    assert found.highest
    assert found.highest.value == 0


def test_slots_that_were_held_back_have_no_known_error() -> None:
    held = node_windows([0.0, 6.0, 3.0])

    found = node_percentiles(held, NO_DAYS, APRIL, Method.CEIL)

    assert found.receive == Estimate(rate(3.0), None)
    assert "held back" in found.notes[0]


def test_longer_windows_of_a_node_give_way_to_its_counts() -> None:
    rates = np.random.default_rng(5).uniform(0, 8e9, (30, 288))
    days = node_days([counts(day, CAPACITY) for day in rates], capacity=[CAPACITY] * 30)
    hours = node_windows(np.ones(720), seconds=3600)

    for windows in (None, hours):
        found = node_percentiles(windows, days, APRIL, Method.CEIL)

        assert found.receive
        assert found.receive.error == pytest.approx(0.02 * CAPACITY)
        assert abs(found.receive.value - sorted(rates.ravel())[8208 - 1]) <= 0.02 * CAPACITY
        assert (found.slots_seen, found.slots_expected) == (8640, 8640)
        assert (found.resolution, found.window_seconds) == (Resolution.HISTOGRAM, 300)
        value = found.receive.value
        assert found.both is None
        assert found.upper == Bound(value, value, 2 * value)
        assert found.upper.highest == value


@pytest.mark.parametrize(
    ("days_of_slots", "expected"),
    [(3, Resolution.HISTOGRAM), (26, Resolution.HISTOGRAM), (27, Resolution.SLOTS)],
)
def test_windows_that_were_longer_before_give_way_to_counts_of_all(
    days_of_slots: int, expected: Resolution
) -> None:
    days = node_days([FULL_DAY] * 30, capacity=[CAPACITY] * 30)
    moved = np.full(8640, 3e9 * 300 / 8)
    moved[: (30 - days_of_slots) * 288] = NAN

    found = node_percentiles(node_windows(moved), days, APRIL, Method.CEIL)

    assert found.resolution is expected
    assert found.slots_seen == (8640 if expected is Resolution.HISTOGRAM else days_of_slots * 288)


def test_days_partly_in_the_period_are_left_out_and_slots_seen_says_so() -> None:
    days = node_days([FULL_DAY] * 60, capacity=[CAPACITY] * 60, first=FIRST - timedelta(days=15))
    berlin = billing_period(FIRST, 1, time_zone("Europe/Berlin"))

    found = node_percentiles(None, days, berlin, Method.CEIL)

    assert (found.slots_seen, found.slots_expected) == (29 * 288, 30 * 288)


def test_slots_begin_on_another_day_than_the_rest() -> None:
    low, high = counts([1e8] * 288, 1e9), counts([9.7e9] * 288, CAPACITY)
    # Capacities of days 0 to 3, slots of days 2 to 4: that of day 4 is not known.
    days = node_days([low, high, high], capacity=[1e12, 1e12, 1e9, CAPACITY], slots_from=2)

    found = node_percentiles(None, days, APRIL, Method.CEIL)

    assert found.slots_seen == 2 * 288
    assert found.notes == ("288 slots are of days without a capacity and have no rate",)
    assert found.receive
    assert found.receive.value == pytest.approx(9.7e9, abs=0.2e9)


@pytest.mark.parametrize("capacity", [0.0, NAN])
def test_without_a_capacity_there_is_no_percentile(capacity: float) -> None:
    found = node_percentiles(None, node_days([FULL_DAY], capacity=[capacity]), APRIL, Method.CEIL)

    assert found.receive is found.highest is None
    assert found.upper == Bound(None, None, None)
    assert found.upper.highest is None
    assert found.slots_seen == 0


def test_nothing_at_all_is_said_to_be_nothing() -> None:
    node = node_percentiles(None, NO_DAYS, APRIL, Method.CEIL)
    fleet = summed_percentiles([], APRIL, Method.CEIL, [])

    for found in (node, fleet):
        assert found.receive is found.transmit is found.both is None
        assert found.upper == Bound(None, None, None)
        assert (found.slots_seen, found.slots_expected) == (0, 8640)


def test_slots_above_the_capacity_are_said_to_decide() -> None:
    above = counts([1.1e10] * 288, CAPACITY)

    found = node_percentiles(
        None, node_days([above], [FULL_DAY], capacity=[CAPACITY]), APRIL, Method.CEIL
    )

    assert found.highest == Estimate(CAPACITY, None, is_above_capacity=True)
    assert found.notes == ("receive: above 100 % of the capacity; by how much is not known",)


def test_slots_that_came_from_before_the_period_are_left_out() -> None:
    days = node_days(
        [0 * FULL_DAY, 3 * FULL_DAY, FULL_DAY, 0 * FULL_DAY, 2 * FULL_DAY], capacity=[CAPACITY] * 5
    )

    found = node_percentiles(None, days, APRIL, Method.CEIL)

    assert found.slots_seen == 3 * 288
    assert found.notes == (
        "the slots counted on 2026-04-02 are from before the period too and left out",
    )


def test_a_sum_is_taken_first_and_ranked_then() -> None:
    # Each node peaks one slot in twenty-five, at another time: only the sum shows it.
    day = np.arange(8640)
    moved = [np.where(day % 25 == number, 1000.0, 100.0) for number in (0, 7)]
    windows = [node_windows(each, node=f"n{number}") for number, each in enumerate(moved)]
    own = [node_percentiles(each, NO_DAYS, APRIL, Method.CEIL) for each in windows]

    found = summed_percentiles(windows, APRIL, Method.CEIL, own)

    assert [each.receive and each.receive.value for each in own] == [rate(100)] * 2
    assert found.receive == Estimate(rate(1100), rate(2 * ROUNDING_BYTES))
    assert found.upper == Bound(rate(200), rate(200), rate(400))
    assert found.resolution is Resolution.WINDOWS


def test_nodes_that_peak_together_have_the_sum_of_their_own() -> None:
    moved = np.random.default_rng(6).integers(1, 1000, 8640).astype(float)
    windows = [node_windows(moved * factor, node=f"n{factor}") for factor in (1, 3)]
    own = [node_percentiles(each, NO_DAYS, APRIL, Method.CEIL) for each in windows]

    found = summed_percentiles(windows, APRIL, Method.CEIL, own)

    assert found.receive
    assert found.upper
    assert found.upper.receive == pytest.approx(found.receive.value)


def test_hours_say_how_low_they_read_and_have_no_known_error() -> None:
    windows = [node_windows(np.full(720, 9.0), seconds=3600)]

    found = summed_percentiles(windows, APRIL, Method.CEIL, [])

    assert found.receive == Estimate(9.0 * 8 / 3600, None)
    assert (found.slots_seen, found.slots_expected, found.window_seconds) == (720, 720, 3600)
    assert found.notes == (
        (
            "windows of 60 minutes even out peaks: an hourly p95 reads about 0.7 to 1.5 % low on "
            "real traffic"
        ),
    )


def test_windows_longer_than_an_hour_read_lower_still() -> None:
    found = summed_measured([node_windows(np.full(30, 9.0), seconds=DAY)], APRIL)

    assert found.notes[0].startswith("windows of 1440 minutes even out peaks: ")
    assert found.notes[0].endswith(" on real traffic, and this one reads lower still")


@pytest.mark.parametrize(
    ("begin", "end", "was"),
    [(0, 1, True), (29, 40, True), (-5, 0, False), (30, 40, False), (-9, -5, False)],
)
def test_a_node_was_there_on_the_days_that_have_releases(begin: int, end: int, was: bool) -> None:
    days = node_days([FULL_DAY] * 30, capacity=[CAPACITY] * 30)
    period = Period(APRIL.begin + begin * DAY, APRIL.begin + end * DAY)

    assert was_there(days, period) is was
    assert was_there(NO_DAYS, period) is False
    # Of a time zone's day, a part is enough.
    assert was_there(days, Period(period.begin - 3600, period.end)) is (was or begin == 30)


def test_a_node_of_which_nothing_is_known_leaves_the_bound_open() -> None:
    known = node_percentiles(None, node_days([FULL_DAY], capacity=[CAPACITY]), APRIL, Method.CEIL)
    unknown = dataclasses.replace(known, receive=None, upper=Bound(None, None, None))

    def upper(own: list[Percentiles]) -> Bound | None:
        return summed_percentiles([], APRIL, Method.CEIL, own).upper

    assert known.receive
    value = known.receive.value
    assert upper([known, known]) == Bound(2 * value, 2 * value, 4 * value)
    assert upper([known, unknown]) == Bound(None, 2 * value, None)


def test_slots_above_a_commit_are_counted_or_bounded() -> None:
    moved = np.array([1.0, 2.0, 3.0, NAN, 4.0]) * 300 / 8
    days = node_days([counts([1e9, 3.1e9, 3.3e9, 9e9], CAPACITY)], capacity=[CAPACITY])

    slots = node_measured(node_windows(moved), NO_DAYS, APRIL)
    summed = summed_measured([node_windows(moved)], APRIL)
    counted = node_measured(None, days, APRIL)

    assert slots.receive.above(2.5) == summed.transmit.above(2.5) == Above(2, 2)
    assert slots.both
    assert slots.both.above(5.0) == Above(2, 2)
    assert counted.receive.above(3.2e9) == Above(1, 3)
    assert counted.receive.above(3.5e9) == Above(1, 1)


def test_a_node_that_came_late_in_the_period_has_only_its_slots() -> None:
    windows = node_windows([5.0] * 10, first_at=APRIL.begin + DAY)

    found = node_percentiles(windows, NO_DAYS, APRIL, Method.CEIL)

    assert (found.slots_seen, found.notes) == (10, ())
    assert node_percentiles(windows, NO_DAYS, Period(0, DAY), Method.CEIL).slots_seen == 0

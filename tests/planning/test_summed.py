"""Sums of windows: against adding up by hand, and who is in them."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.billed import APRIL, DAY, NAN, node_windows
from trafficd.planning.daily import Floats
from trafficd.planning.node_history import NodeWindows
from trafficd.planning.period import Period
from trafficd.planning.summed import sum_windows

HOUR = Period(APRIL.begin, APRIL.begin + 3600)


def all_of(value: float, count: int = 12) -> Floats:
    return np.full(count, value)


@given(
    st.lists(
        st.lists(st.one_of(st.just(NAN), st.integers(1, 2**40)), min_size=12, max_size=12),
        min_size=1,
        max_size=4,
    )
)
def test_a_sum_is_known_where_every_node_is_that_was_there(nodes: list[list[float]]) -> None:
    found = sum_windows([node_windows(each) for each in nodes], HOUR)

    seen = [[n for n, moved in enumerate(each) if not math.isnan(moved)] for each in nodes]
    last = max((known[-1] for known in seen if known), default=-1)
    for window in range(12):
        # All of them are silent for less than a day at the end: late, not gone.
        there = [
            each[window]
            for each, known in zip(nodes, seen, strict=True)
            if known and known[0] <= window <= last
        ]
        expected = sum(there) if there else NAN
        np.testing.assert_equal(found.moved.receive[window], expected)
        np.testing.assert_equal(found.rates.transmit[window], expected * 8 / 300)


def test_windows_of_different_length_are_brought_to_what_all_of_them_divide() -> None:
    short = node_windows(np.arange(1.0, 25.0), node="a")
    longer = node_windows([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0], node="b", seconds=900)
    odd = node_windows([1.0] * 12, node="c", seconds=600)

    found = sum_windows([short, longer, odd], Period(APRIL.begin, APRIL.begin + 7200))

    assert found.window_seconds == 1800
    assert found.first_at == APRIL.begin
    np.testing.assert_equal(
        found.moved.receive, [21 + 30 + 3, 57 + 70 + 3, 93 + 110 + 3, 129 + 150 + 3]
    )


def test_windows_partly_in_the_period_are_left_out() -> None:
    hours = node_windows([1.0, 2.0, 3.0, 4.0], seconds=3600)

    found = sum_windows([hours], Period(APRIL.begin + 1800, APRIL.begin + 3 * 3600 + 1800))

    assert found.first_at == APRIL.begin + 3600
    np.testing.assert_equal(found.moved.receive, [2.0, 3.0])


def test_what_was_held_back_is_spread_before_the_period_is_cut() -> None:
    held = node_windows([0.0, 0.0, 0.0, 8.0, 5.0], first_at=APRIL.begin - 600)

    found = sum_windows([held], Period(APRIL.begin, APRIL.begin + 900))

    np.testing.assert_equal(found.moved.receive, [2.0, 2.0, 5.0])
    assert found.held == 1
    assert found.notes == ("held back, and spread over the windows it was: 1 of single nodes",)


def days(values: list[float], node: str) -> NodeWindows:
    return node_windows(np.repeat(values, 288), node=node)


def test_nodes_that_came_or_left_count_while_they_were_there_and_are_named() -> None:
    stays = days([1.0, 1.0, 1.0, 1.0], "stays")
    comes = days([NAN, 2.0, 2.0, 2.0], "comes")
    leaves = days([4.0, 4.0, NAN, NAN], "leaves")
    never = days([NAN, NAN, NAN, NAN], "never")

    found = sum_windows([stays, comes, leaves, never], Period(APRIL.begin, APRIL.begin + 4 * DAY))

    np.testing.assert_equal(found.moved.receive, np.repeat([5.0, 7.0, 3.0, 3.0], 288))
    assert found.nodes == 3
    assert found.notes == (
        "came inside the period and count from then on: comes at 2026-04-02 00:00 UTC",
        "left inside the period and count until then: leaves at 2026-04-03 00:00 UTC",
        "nothing is known of any window of: never",
    )


def test_a_node_that_is_silent_for_less_than_a_day_is_late_and_not_gone() -> None:
    there = node_windows(all_of(1.0, 300), node="there")
    late = node_windows(np.append(all_of(1.0, 13), all_of(NAN, 287)), node="late")
    gone = node_windows(np.append(all_of(1.0, 12), all_of(NAN, 288)), node="gone")

    with_late = sum_windows([there, late], Period(APRIL.begin, APRIL.begin + 90000))
    with_gone = sum_windows([there, gone], Period(APRIL.begin, APRIL.begin + 90000))

    assert np.isnan(with_late.moved.receive).sum() == 287
    assert not with_late.notes
    np.testing.assert_equal(with_gone.moved.receive, np.append(all_of(2.0, 12), all_of(1.0, 288)))


def test_a_node_that_is_late_for_all_of_a_period_leaves_it_unknown() -> None:
    there = node_windows(all_of(1.0, 24), node="there")
    late = node_windows(all_of(1.0), node="late")

    found = sum_windows([there, late], Period(APRIL.begin + 3600, APRIL.begin + 7200))

    assert np.isnan(found.moved.receive).all()


def test_who_was_there_before_the_period_does_not_come_in_it_and_who_left_is_not_in_it() -> None:
    begin = APRIL.begin + 2 * DAY
    gap = days([1.0, 1.0, NAN, 1.0], "gap")
    left = days([1.0, NAN, NAN, NAN], "left")

    found = sum_windows([gap, left], Period(begin, begin + 2 * DAY))

    assert np.isnan(found.moved.receive[:288]).all()
    np.testing.assert_equal(found.moved.receive[288:], all_of(1.0, 288))
    assert (found.nodes, found.notes) == (1, ())


def test_nodes_that_come_or_leave_as_the_period_begins_do_not_in_it() -> None:
    there = days([1.0, 1.0, 1.0], "there")
    left = days([1.0, NAN, NAN], "left")
    comes = days([NAN, 2.0, 2.0], "comes")

    found = sum_windows([there, left, comes], Period(APRIL.begin + DAY, APRIL.begin + 3 * DAY))

    np.testing.assert_equal(found.moved.receive, all_of(3.0, 576))
    assert found.notes == ()


def test_a_node_that_comes_within_a_window_counts_from_the_next() -> None:
    there = node_windows([1.0, 1.0], node="there", seconds=900)
    comes = node_windows([NAN, 5.0, 5.0, 5.0, 5.0, 5.0], node="comes")

    found = sum_windows([there, comes], Period(APRIL.begin, APRIL.begin + 1800))

    np.testing.assert_equal(found.moved.receive, [1.0, 16.0])
    assert found.notes == (
        "came inside the period and count from then on: comes at 2026-04-01 00:15 UTC",
    )


def test_no_nodes_and_no_windows_have_no_sums() -> None:
    elsewhere = node_windows([1.0], first_at=APRIL.begin - DAY)

    for windows in ([], [elsewhere], [node_windows([])]):
        assert np.isnan(sum_windows(windows, HOUR).moved.receive).all()
    assert len(sum_windows([], Period(APRIL.begin + 1, APRIL.begin + 299)).moved.receive) == 0

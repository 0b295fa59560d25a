"""Slots: the 95th percentile comes back within a bucket, and what was not seen is not counted."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.accounting.slots import Slots
from trafficd.accounting.window import LATEST_SECONDS
from trafficd.clock import Moment
from trafficd.releases import Totals
from trafficd.schema import SLOT_SECONDS, UTILISATION_BOUNDS

GIGABIT = 10**9
SLOT_BYTES = GIGABIT * SLOT_SECONDS // 8
NOON = 1_700_000_000 // 86400 * 86400 + 12 * 3600


def at(utc_seconds: float, elapsed_seconds: float | None = None) -> Moment:
    """A moment; without the second argument on a clock that was never stepped."""
    return Moment(utc_seconds, utc_seconds if elapsed_seconds is None else elapsed_seconds)


def turn(slots: Slots, now: Moment, rx_bytes: int = 0, tx_bytes: int = 0) -> None:
    """Ask as the reader does, and read the counters if an edge is due."""
    edge = slots.due(now)
    if edge is not None:
        slots.turn(edge, now, Totals(rx_bytes, tx_bytes), GIGABIT)


def count(slots: Slots) -> int:
    return sum(slots.utilisation().receive)


@given(st.lists(st.integers(0, 120), min_size=1, max_size=288))
def test_the_percentile_comes_back_within_its_bucket(percents: Sequence[int]) -> None:
    slots, moved = Slots(), 0
    turn(slots, at(NOON))
    for number, percent in enumerate(percents, start=1):
        moved += SLOT_BYTES * percent // 100
        turn(slots, at(NOON + number * SLOT_SECONDS), tx_bytes=moved)

    counts = slots.utilisation().transmit
    rank = math.ceil(len(percents) * 95 / 100)
    bucket = next(n for n in range(len(counts)) if sum(counts[: n + 1]) >= rank)
    upper = float(UTILISATION_BOUNDS[bucket])
    lower = float(UTILISATION_BOUNDS[bucket - 1]) if bucket else -1.0
    assert sum(counts) == sum(slots.utilisation().receive) == len(percents)
    assert lower < sorted(percents)[rank - 1] / 100 <= upper


def test_a_run_that_begins_inside_a_slot_does_not_count_it() -> None:
    slots = Slots()

    turn(slots, at(NOON + 100))
    turn(slots, at(NOON + 300))
    before = count(slots)
    turn(slots, at(NOON + 600))

    assert (before, count(slots)) == (0, 1)


def test_an_edge_that_was_missed_leaves_both_its_slots_out() -> None:
    slots = Slots()

    turn(slots, at(NOON))
    late = slots.due(at(NOON + 300 + LATEST_SECONDS + 1))
    turn(slots, at(NOON + 600))
    turn(slots, at(NOON + 900))

    assert late is None
    assert count(slots) == 1


def test_counters_that_came_too_late_for_their_edge_are_not_those_of_it() -> None:
    slots = Slots()

    turn(slots, at(NOON))
    slots.turn(NOON + 300, at(NOON + 300 + LATEST_SECONDS + 1), Totals(), GIGABIT)
    turn(slots, at(NOON + 600))

    assert count(slots) == 0


def test_the_rate_is_that_of_the_time_that_really_passed() -> None:
    slots = Slots()
    # 0.5 of the capacity for 309 seconds, which over 300 would be 0.515.
    moved = GIGABIT // 8 * 309 // 2

    turn(slots, at(NOON))
    turn(slots, at(NOON + 309), rx_bytes=moved)

    assert slots.utilisation().receive[UTILISATION_BOUNDS.index("0.5")] == 1


def test_a_spoiled_slot_is_not_counted_and_the_next_is() -> None:
    slots = Slots()

    turn(slots, at(NOON))
    slots.spoil()
    turn(slots, at(NOON + 300))
    before = count(slots)
    turn(slots, at(NOON + 600))

    assert (before, count(slots)) == (0, 1)


@pytest.mark.parametrize("step", [-3600, -300, 300, 3600])
def test_a_slot_in_which_the_clock_was_set_is_not_counted(step: int) -> None:
    slots = Slots()

    turn(slots, at(NOON, 0))
    turn(slots, at(NOON + 300 + step, 300))
    # Where the clock was set, the edge before this one was another hour's.
    assert count(slots) == 0


def test_a_clock_that_is_set_back_counts_no_slot_twice() -> None:
    slots = Slots()

    for number in range(4):
        turn(slots, at(NOON + number * 300, number * 300))
    for number in range(4):
        turn(slots, at(NOON + number * 300, (number + 4) * 300))

    assert count(slots) == 3


def test_without_a_capacity_no_slot_is_counted() -> None:
    slots = Slots()

    for number in range(3):
        slots.turn(NOON + number * 300, at(NOON + number * 300), Totals(number, number), 0)

    assert count(slots) == 0


def test_an_edge_is_asked_for_once_and_the_next_in_time() -> None:
    slots = Slots()

    turn(slots, at(NOON + 2))

    assert slots.due(at(NOON + 3)) is None
    assert slots.seconds_to_next(at(NOON + 3)) == 297

"""The grid: multiples of the window, whatever the clock does."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trafficd.accounting.window import LATEST_SECONDS, Grid
from trafficd.clock import Moment

HOUR = 3600
NOON = 1_700_000_000 // 86400 * 86400 + 12 * HOUR


def at(utc_seconds: float, elapsed_seconds: float | None = None) -> Moment:
    """A moment; without the second argument on a clock that was never stepped."""
    return Moment(utc_seconds, utc_seconds if elapsed_seconds is None else elapsed_seconds)


def test_the_first_release_is_due_a_whole_window_after_the_start() -> None:
    grid = Grid(HOUR, at(NOON + 58 * 60))

    assert grid.started_at == NOON
    assert grid.next_due(at(NOON + 58 * 60)) == NOON + 2 * HOUR
    assert grid.due(at(NOON + HOUR)) is None
    assert grid.due(at(NOON + 2 * HOUR)) == NOON + 2 * HOUR


def test_a_run_that_starts_on_the_grid_is_due_at_the_next_point() -> None:
    grid = Grid(HOUR, at(NOON))

    assert grid.next_due(at(NOON)) == NOON + HOUR
    assert grid.due(at(NOON + HOUR)) == NOON + HOUR


@pytest.mark.parametrize("late", [0.01, 0.5, 9.0])
def test_a_run_that_starts_just_after_the_grid_is_not_due_at_the_next_point(late: float) -> None:
    # The run before may have published noon, where this one would then be said to have been at 0.
    grid = Grid(HOUR, at(NOON + late))

    assert grid.next_due(at(NOON + late)) == NOON + 2 * HOUR
    assert all(grid.due(at(NOON + HOUR + after)) is None for after in (0.0, late, 9.5))
    assert grid.due(at(NOON + 2 * HOUR)) == NOON + 2 * HOUR


def test_a_grid_point_is_decided_once() -> None:
    grid = Grid(HOUR, at(NOON))

    grid.decided(NOON + HOUR, at(NOON + HOUR))

    assert grid.due(at(NOON + HOUR + 1)) is None


def test_a_clock_set_forward_does_not_shorten_a_window() -> None:
    grid = Grid(HOUR, at(NOON))
    grid.decided(NOON + HOUR, at(NOON + HOUR))

    # At 13:10 the clock jumps to 13:55: five minutes later it is 14:00, after 15 real minutes.
    assert grid.due(at(NOON + 2 * HOUR, NOON + HOUR + 15 * 60)) is None
    assert grid.due(at(NOON + 3 * HOUR, NOON + 2 * HOUR + 15 * 60)) == NOON + 3 * HOUR


def test_a_clock_set_back_publishes_no_grid_point_again() -> None:
    grid = Grid(HOUR, at(NOON))
    grid.decided(NOON + HOUR, at(NOON + HOUR))

    assert grid.due(at(NOON + HOUR, NOON + 3 * HOUR)) is None
    assert grid.due(at(NOON + 2 * HOUR, NOON + 4 * HOUR)) == NOON + 2 * HOUR


def test_a_clock_that_was_years_ahead_does_not_silence_the_node() -> None:
    ahead = NOON + 4 * 365 * 86400
    grid = Grid(HOUR, at(ahead, 0))
    grid.decided(ahead + HOUR, at(ahead + HOUR, HOUR))

    assert grid.due(at(NOON + HOUR, 3 * HOUR)) == NOON + HOUR


def test_a_grid_point_that_was_slept_through_is_left_out() -> None:
    grid = Grid(HOUR, at(NOON))

    assert grid.due(at(NOON + HOUR + 40 * 60)) is None
    assert grid.next_due(at(NOON + HOUR + 40 * 60)) == NOON + 2 * HOUR


_windows = st.sampled_from([300, 900, 3600, 86400])
# Each step: real seconds that pass, then seconds by which somebody sets the clock.
_steps = st.lists(
    st.tuples(
        st.floats(0.001, 20_000), st.sampled_from([0, 0, 0, 0.3, -0.3, 290, -290, 7200, -9e4])
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(_windows, st.floats(0, 86400), _steps)
def test_no_two_decisions_are_closer_than_the_window_or_of_the_same_point(
    window: int, start: float, steps: list[tuple[float, float]]
) -> None:
    now = Moment(NOON + start, 0.0)
    grid = Grid(window, now)
    decisions: list[tuple[int, float]] = []

    for passed, stepped in steps:
        now = Moment(now.utc_seconds + passed + stepped, now.elapsed_seconds + passed)
        point = grid.due(now)
        if point is not None:
            grid.decided(point, now)
            decisions.append((point, now.elapsed_seconds))

    points = [point for point, _ in decisions]
    assert len(points) == len(set(points))
    assert all(point % window == 0 for point in points)
    elapsed = [0.0, *(moment for _, moment in decisions)]
    # A second is what a busy machine may be late with; floats take a little more.
    assert all(b - a > window - 1.001 for a, b in pairwise(elapsed))


@settings(max_examples=300, deadline=None)
@given(_windows, st.floats(0, 86400), st.integers(1, 50))
def test_whoever_sleeps_as_told_decides_every_point_in_time(
    window: int, start: float, count: int
) -> None:
    now = Moment(NOON + start, 0.0)
    grid = Grid(window, now)
    first = grid.next_due(now)
    decided: list[int] = []

    for _ in range(2 * count):
        seconds = max(grid.seconds_to_next(now), 0.001)
        now = Moment(now.utc_seconds + seconds, now.elapsed_seconds + seconds)
        point = grid.due(now)
        if point is not None:
            grid.decided(point, now)
            decided.append(point)
            assert now.utc_seconds - point <= LATEST_SECONDS

    assert decided[:count] == [first + number * window for number in range(count)]

"""Clocks that are set, and hosts that sleep, while a reader is being restarted."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trafficd.accounting.slots import Slots
from trafficd.accounting.window import SLACK_SECONDS, Grid
from trafficd.clock import Moment
from trafficd.releases import Totals

WINDOW = 300
START = 1_700_000_100
assert START % WINDOW == 0


def resumed(grid: Grid, now: Moment, window: int = WINDOW) -> Grid:
    return Grid.restored(grid.state(), window, now, speed=1.0)


def test_a_point_that_was_decided_is_not_due_again_after_a_restart_and_a_clock_set_back() -> None:
    grid = Grid(WINDOW, Moment(START - 400, 1000.0))
    grid.decided(START, Moment(START, 1400.0))

    # An hour of real time passes, and the clock is set back by as much.
    later = Moment(START + 1.0, 5000.0)

    assert resumed(grid, later).due(later) is None
    assert Grid(WINDOW, Moment(START - 400, 1000.0)).due(later) == START


def test_a_clock_set_forward_over_a_restart_makes_no_window_short() -> None:
    grid = Grid(WINDOW, Moment(START - 400, 1000.0))
    grid.decided(START, Moment(START, 1400.0))
    jumped = Moment(START + WINDOW, 1410.0)

    assert resumed(grid, jumped).due(jumped) is None
    in_time = Moment(START + 2 * WINDOW, 1710.0)
    assert resumed(grid, in_time).due(in_time) == START + 2 * WINDOW


def test_a_point_that_came_while_no_reader_was_there_or_the_host_slept_is_left_out() -> None:
    grid = Grid(WINDOW, Moment(START - 400, 1000.0))
    grid.decided(START, Moment(START, 1400.0))
    awake = Moment(START + 3 * WINDOW + 50, 1400.0 + 3 * WINDOW + 50)
    after = resumed(grid, awake)

    assert after.due(awake) is None
    assert after.next_due(awake) == START + 4 * WINDOW


def test_the_run_keeps_its_start_and_a_window_that_is_shorter_now_counts_from_the_last() -> None:
    grid = Grid(2 * WINDOW, Moment(START + 50, 1000.0))
    grid.decided(START + 600, Moment(START + 600, 1550.0))
    now = Moment(START + 900, 1850.0)

    after = resumed(grid, now, WINDOW)

    assert after.started_at == grid.started_at
    assert after.due(now) == START + 900
    early = Moment(START + 900, 1850.0 - WINDOW / 2)
    assert after.due(early) is None


@given(
    st.lists(
        st.tuples(st.floats(0, 2000), st.floats(-4000, 4000) | st.just(0.0), st.booleans()),
        max_size=60,
    )
)
def test_whatever_clocks_and_restarts_do_points_are_decided_once_and_a_window_apart(
    steps: list[tuple[float, float, bool]],
) -> None:
    now = Moment(START + 17.0, 1000.0)
    grid = Grid(WINDOW, now)
    decided: list[tuple[int, float]] = []
    for passes, set_by, restarts in steps:
        now = Moment(now.utc_seconds + passes + set_by, now.elapsed_seconds + passes)
        if restarts:
            grid = resumed(grid, now)
        point = grid.due(now)
        if point is not None:
            grid.decided(point, now)
            decided.append((point, now.elapsed_seconds))

    points = [point for point, _ in decided]
    assert len(points) == len(set(points))
    moments = [1000.0, *(moment for _, moment in decided)]
    assert all(b - a >= WINDOW - SLACK_SECONDS for a, b in pairwise(moments))


def test_a_slot_that_a_restart_fell_into_counts_if_it_was_seen_at_both_its_ends() -> None:
    capacity = 8_000_000
    slots = Slots()
    slots.turn(START, Moment(START, 1000.0), Totals(0, 0), capacity)

    after = Slots.restored(slots.state())
    after.turn(START + 300, Moment(START + 300, 1300.0), Totals(150_000_000, 0), capacity)
    again = Slots.restored(after.state())

    assert sum(after.utilisation().receive) == 1
    assert again.utilisation() == after.utilisation()
    # A clock set back meets the slot again, in the next reader.
    again.turn(START, Moment(START, 1400.0), Totals(0, 0), capacity)
    again.turn(START + 300, Moment(START + 300, 1700.0), Totals(5, 5), capacity)
    assert again.utilisation() == after.utilisation()

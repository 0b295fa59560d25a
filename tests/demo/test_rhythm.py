"""The hours and days of the made-up traffic."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.demo.rhythm import DAY_SECONDS, SLOTS_A_DAY, WEEK, busy, day_shape, weekday

HOURS = st.integers(0, 23)


@given(HOURS)
def test_a_day_is_one_on_the_mean_and_busiest_at_its_hour(hour: int) -> None:
    shape = day_shape(hour)

    assert sum(shape) / SLOTS_A_DAY == pytest.approx(1.0)
    assert shape.index(max(shape)) == hour * SLOTS_A_DAY // 24
    assert min(shape) > 0.5


def test_a_week_is_one_on_the_mean() -> None:
    assert sum(WEEK) == pytest.approx(7.0)


@given(st.integers(0, 40_000))
def test_days_of_the_week_are_those_of_the_calendar(day: int) -> None:
    assert weekday(day) == datetime.fromtimestamp(day * DAY_SECONDS, UTC).weekday()


@given(st.integers(0, 2**32), HOURS)
def test_a_place_is_as_busy_as_its_hour_and_its_day(at: int, hour: int) -> None:
    slot = at % DAY_SECONDS // 300

    assert busy(at, hour) == day_shape(hour)[slot] * WEEK[weekday(at // DAY_SECONDS)]

"""The fit against slow oracles, and against the future."""

from datetime import date, timedelta

import numpy as np
import pytest

from tests.planning.series import FIRST, WEEK, growing, with_holes
from trafficd.planning.daily import Floats
from trafficd.planning.fit import fit


@pytest.mark.parametrize("days", [1, 2, 3, 8, 40, 400])
def test_a_day_is_fitted_from_nothing_but_the_days_up_to_it(days: int) -> None:
    values = with_holes(growing(500), seed=2)

    whole, part = fit(values, FIRST), fit(values[:days], FIRST)

    np.testing.assert_allclose(part.level, whole.level[:days])
    np.testing.assert_allclose(part.slope, whole.slope[:days], atol=1e-12)
    np.testing.assert_allclose(part.factors, whole.factors[:days], atol=1e-12)


def test_a_week_that_repeats_is_found_with_its_growth() -> None:
    values = growing(800, noise=0.0)

    found = fit(values, FIRST)

    weekday = np.log(WEEK) - np.log(WEEK).mean()
    np.testing.assert_allclose(found.factors[-1], weekday, atol=1e-6)
    assert found.slope[-1] == pytest.approx(np.log(1.4) / 365, rel=1e-6)


def test_weekdays_are_those_of_the_calendar() -> None:
    values = growing(400, noise=0.0)
    later = 3

    shifted = fit(values[later:], FIRST + timedelta(days=later))

    assert date(2024, 1, 6).weekday() == 5
    assert np.argmin(shifted.factors[-1]) == 6
    assert np.argmax(shifted.factors[-1]) == 4


def test_the_slope_is_that_of_least_squares_over_two_years_as_far_as_it_is_believed() -> None:
    values = with_holes(growing(1000, noise=0.1), seed=4)
    found = fit(values, FIRST)

    for day in (100, 400, 999):
        # Of the values less the weekdays' factors as they were known on each day.
        flat = np.array(
            [found.logs[each] - found.factors[each, each % 7] for each in range(day + 1)]
        )[-730:]
        known = np.flatnonzero(~np.isnan(flat))
        slope = np.polyfit(known, flat[known], 1)[0]
        assert found.slope[day] == pytest.approx(slope, rel=1e-6)
        assert found.belief[day] == pytest.approx(0.75 * min(1.0, len(known) / 540))


def test_the_level_is_exponential_smoothing_that_waits_for_missing_days() -> None:
    values = with_holes(growing(200), seed=5)
    values[:3] = np.nan
    found = fit(values, FIRST)

    level = np.nan
    for day, value in enumerate(found.logs):
        if not np.isnan(value):
            flat = value - found.factors[day, day % 7]
            level = flat if np.isnan(level) else 0.5 * level + 0.5 * flat
        np.testing.assert_allclose(found.level[day], level)


def test_what_is_expected_continues_level_growth_and_week() -> None:
    values = growing(900, noise=0.0)
    found = fit(values, FIRST)

    expected = np.exp(found.expected(np.array([899]), np.arange(1, 15), 0.75))[0]

    slower = 0.25 * np.log(1.4) / 365 * np.arange(1, 15)
    # The level lags a day of growth behind.
    assert expected == pytest.approx(after(values, 14) / np.exp(slower), rel=2e-3)


def after(values: Floats, days: int) -> Floats:
    return growing(len(values) + days, noise=0.0)[len(values) :]

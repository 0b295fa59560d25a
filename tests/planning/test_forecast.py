"""The forecast: what it may know, what it refuses, and that its bands hold what they say."""

import math
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from tests.planning.series import FIRST, growing, series, wandering, with_holes
from trafficd.errors import HistoryTooShortError
from trafficd.planning.daily import DailySeries
from trafficd.planning.forecast import Method, forecast


def test_the_first_day_is_the_one_after_the_history_ends() -> None:
    found = forecast(series(growing(100)), 14)

    assert found.first == FIRST + timedelta(days=100)
    assert list(found.days())[-1] == FIRST + timedelta(days=113)
    assert len(found.point) == 14


def test_a_forecast_of_the_past_is_the_one_that_was_made_then() -> None:
    whole = series(with_holes(growing(700, noise=0.1), seed=3))
    day = 420

    (then,) = Method(whole).forecasts(60, [day])
    now = forecast(whole.until(whole.day(day)), 60)

    assert then.first == now.first
    np.testing.assert_allclose(then.point, now.point)
    for share in (0.8, 0.95):
        np.testing.assert_allclose(then.low[share], now.low[share])
        np.testing.assert_allclose(then.high[share], now.high[share])


def test_the_unit_does_not_matter() -> None:
    values = growing(300)

    bits, gigabits = (forecast(series(values * unit), 30) for unit in (1e9, 1.0))

    np.testing.assert_allclose(bits.point, gigabits.point * 1e9)
    np.testing.assert_allclose(bits.low[0.8], gigabits.low[0.8] * 1e9)


def test_bands_lie_in_each_other_and_around_the_point() -> None:
    found = forecast(series(wandering(400, seed=1)), 90)

    for inner, outer in ((found.low[0.95], found.low[0.8]), (found.low[0.8], found.point)):
        assert np.all(inner <= outer)
    for inner, outer in ((found.point, found.high[0.8]), (found.high[0.8], found.high[0.95])):
        assert np.all(inner <= outer)
    assert np.all(found.low[0.95] > 0)


@pytest.mark.parametrize("make", [wandering, growing])
def test_bands_hold_what_they_say_of_what_nobody_has_seen(make: object) -> None:
    held: dict[float, list[float]] = {0.8: [], 0.95: []}
    for seed in range(30):
        values = make(900, seed=seed)  # type: ignore[operator]
        made = list(range(500, 870, 37))
        for day, each in zip(made, Method(series(values)).forecasts(30, made), strict=True):
            came = values[day + 1 : day + 31]
            for share, hits in held.items():
                hits.append(np.mean((each.low[share] <= came) & (came <= each.high[share])))

    assert 0.76 <= np.mean(held[0.8]) <= 0.86
    assert 0.92 <= np.mean(held[0.95]) <= 0.98


def test_days_without_traffic_and_days_unknown_are_both_no_level() -> None:
    values = growing(300, noise=0.0)
    holed = values.copy()
    holed[50:60], holed[200:207] = np.nan, 0.0

    found, whole = forecast(series(holed), 30), forecast(series(values), 30)

    np.testing.assert_allclose(found.point, whole.point, rtol=0.01)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([]), "0 days with traffic; a forecast takes 28"),
        (np.zeros(400), "0 days with traffic; a forecast takes 28"),
        (np.full(400, np.nan), "0 days with traffic; a forecast takes 28"),
        (np.ones(1), "^1 day with traffic; a forecast takes 28"),
        (growing(27), "27 days with traffic; a forecast takes 28"),
        (np.concatenate([growing(300), np.zeros(14)]), "no traffic in the last 14 days"),
        (growing(50), "50 days of history carry a forecast of 25 days, half of them, not of 30"),
        (
            np.concatenate([growing(70), np.full(10, np.nan)]),
            f"70 days of history carry a forecast of 35 days from {FIRST + timedelta(days=69)} on",
        ),
        (
            np.concatenate([growing(60), np.full(30, np.nan)]),
            f"nothing is known since {FIRST + timedelta(days=59)}, and 60 days of history carry",
        ),
        (np.concatenate([np.full(100, 5.0), [5e9]]), "as it never did before"),
        (np.repeat(np.tile([1e-300, 1e100], 10), 10), "as it never did before"),
    ],
)
def test_a_history_that_does_not_carry_it_is_refused_with_the_reason(
    values: np.typing.NDArray[np.float64], reason: str
) -> None:
    with pytest.raises(HistoryTooShortError, match=reason):
        forecast(series(values), 30)


def test_days_unknown_at_the_ends_are_no_history() -> None:
    values = np.concatenate([[np.nan] * 30, growing(60), [np.nan] * 5])

    found = Method(series(values))

    assert found.series.first == FIRST + timedelta(days=30)
    assert len(found.series.values) == 60


def test_a_series_knows_its_days() -> None:
    made = DailySeries("fra", date(2024, 2, 27), np.arange(4.0))

    assert made.last == date(2024, 3, 1)
    assert made.until(date(2024, 2, 28)).values.tolist() == [0.0, 1.0]
    assert made.until(date(2023, 1, 1)).values.tolist() == []
    assert replace(made, name="ams").first == made.first


def test_a_series_that_never_moves_is_forecast_to_stay() -> None:
    found = forecast(series(np.full(200, 5.0)), 90)

    np.testing.assert_allclose(found.point, 5.0)
    assert np.all(found.high[0.95] / found.low[0.95] < 1.05)


def test_a_forecast_begins_after_the_last_day_though_nothing_is_known_of_some() -> None:
    values = growing(200)
    holed = values.copy()
    holed[-5:] = np.nan

    found, longer = forecast(series(holed), 30), forecast(series(values[:-5]), 35)

    assert found.first == series(values).last + timedelta(days=1)
    np.testing.assert_array_equal(found.point, longer.point[5:])


def test_a_series_that_was_all_quiet_once_has_bands_of_what_came() -> None:
    chance = np.random.default_rng(5)
    quiet = np.full(200, 1e6)
    busy = 5e9 * np.exp(0.1 * chance.standard_normal(200))

    found = forecast(series(np.concatenate([quiet, busy])), 90)

    # What a day of them is off in the one case of ten or forty, and ninety days no more.
    assert np.all(found.high[0.8] < found.point * math.exp(1.3 * 0.1 * math.sqrt(90)))
    assert np.all(found.high[0.95] < found.point * math.exp(2.0 * 0.1 * math.sqrt(90)))


@pytest.mark.parametrize("days", [28, 29, 35, 60])
def test_a_young_history_has_bands_as_far_as_it_carries(days: int) -> None:
    found = forecast(series(growing(days)), days // 2)

    for share in (0.8, 0.95):
        assert np.all(found.low[share] < found.point)
        assert np.all(found.point < found.high[share])
    assert np.all(np.diff(np.log(found.high[0.8] / found.low[0.8])) > -0.05)

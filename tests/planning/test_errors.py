"""What few errors exceeded, against a slow oracle; and bands that hold what they say."""

import math

import numpy as np
import pytest

from trafficd.planning.errors import KnownErrors, between, in_units, knots, restlessness


def reaching(wanted: float, ranked: list[tuple[float, float]]) -> float:
    reached = 0.0
    for error, weight in ranked:
        reached += weight
        if reached >= wanted:
            return error
    return ranked[-1][0]


@pytest.mark.parametrize("share", [0.8, 0.9, 0.95])
def test_the_weighted_share_is_that_of_the_definition(share: float) -> None:
    chance = np.random.default_rng(3)
    made, ahead, at = np.arange(14, 300), np.array([1, 7, 60]), 280
    errors = np.abs(chance.standard_normal((len(made), len(ahead))))
    errors[chance.random(errors.shape) < 0.1] = math.nan

    found = KnownErrors(errors, made, ahead, at).exceeded_by_few(share)

    for column, steps in enumerate(ahead):
        known = [
            (errors[row, column], 0.5 ** ((at - day - steps) / max(150.0, 2.0 * steps)))
            for row, day in enumerate(made)
            if day + steps <= at and not math.isnan(errors[row, column])
        ]
        wanted = share * (sum(weight for _, weight in known) + 1.0)
        assert found[column] == reaching(wanted, sorted(known))


def test_too_few_errors_so_far_ahead_take_more_room_the_farther() -> None:
    made, ahead = np.arange(14, 50), np.array([1, 10, 30, 33])
    errors = np.ones((len(made), len(ahead)))

    assert KnownErrors(errors, made, ahead, 49).exceeded_by_few(0.8).tolist() == [
        1.0,
        1.0,
        3.0,
        3.3,
    ]


def test_what_is_not_known_yet_counts_for_nothing() -> None:
    made, ahead = np.arange(0, 100), np.array([5])
    errors = np.where(made[:, np.newaxis] + 5 > 60, 1000.0, 1.0)

    assert KnownErrors(errors, made, ahead, 60).exceeded_by_few(0.95).tolist() == [1.0]


def test_restlessness_is_the_mean_error_of_the_days_before() -> None:
    errors = np.array([math.nan, 0.1, -0.3, 0.2, math.nan, 0.4])

    found = restlessness(errors)

    assert found == pytest.approx([1e-3, 1e-3, 0.1, 0.2, 0.2, 0.2])


def test_restlessness_forgets() -> None:
    errors = np.concatenate([np.full(200, 1.0), np.full(200, 0.1)])

    assert restlessness(errors)[[199, 399]] == pytest.approx([1.0, 0.1])


def test_knots_reach_from_tomorrow_to_the_horizon() -> None:
    for horizon in (1, 2, 14, 90, 365):
        found = knots(horizon)
        assert (found[0], found[-1]) == (1, horizon)
        assert np.all(np.diff(found) > 0)
    every = np.arange(1, 91)
    assert between(knots(90), np.log(knots(90)), every) == pytest.approx(np.log(every))


def test_an_error_from_a_quiet_time_counts_for_five_times_itself_or_for_nothing() -> None:
    errors, restless = np.array([[1.0], [1.0], [1.0]]), np.array([0.03, 0.1, 2.0])

    found = in_units(errors, restless, 1.0)

    np.testing.assert_array_equal(found.ravel(), [np.nan, 5.0, 0.5])


def test_of_a_young_history_half_as_many_are_enough_and_hardly_any_are_none() -> None:
    ahead = np.array([1, 7, 14])
    # Days 14 to 27: 13, 7 and 0 errors are known.
    made = np.arange(14, 28)
    errors = np.ones((len(made), len(ahead)))

    assert KnownErrors(errors, made, ahead, 27).exceeded_by_few(0.8).tolist() == [1.0, 1.0, 2.0]
    assert np.isnan(KnownErrors(errors, made, ahead, 23).exceeded_by_few(0.8)).all()

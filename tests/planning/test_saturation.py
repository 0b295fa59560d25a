"""When a threshold is reached: slow oracles, series that do reach it, and the reasons."""

from datetime import timedelta

import numpy as np
import pytest

from tests.planning.series import growing, series, wandering, with_holes
from trafficd.planning.fit import fit
from trafficd.planning.forecast import Method
from trafficd.planning.saturation import Highest, highest_ahead, highest_expected, saturation

AHEAD = np.array([1, 2, 3, 7, 8, 30, 64, 100])


def test_the_highest_of_days_to_come_is_found_as_by_looking_at_each() -> None:
    logs = np.log(with_holes(wandering(150, seed=2), seed=3, share=0.3))
    logs[40:50] = np.nan

    ahead = np.append(AHEAD, [149, 150, 400])

    found = highest_ahead(logs, ahead)

    for day in range(150):
        for column, steps in enumerate(ahead):
            came = logs[day + 1 : day + 1 + steps]
            expected = np.nan
            if len(came) == steps and not np.all(np.isnan(came)):
                expected = np.nanmax(came)
            np.testing.assert_equal(found[day, column], expected)


@pytest.mark.parametrize("a_year", [0.5, 1.0, 2.0])
def test_the_highest_expected_is_in_the_first_week_or_in_the_last(a_year: float) -> None:
    fitted = fit(growing(300, a_year=a_year), series(np.ones(1)).first)
    made = np.arange(30, 300, 7)

    found = highest_expected(fitted, made, AHEAD, 0.75)

    path = np.maximum.accumulate(fitted.expected(made, np.arange(1, 101), 0.75), axis=1)
    np.testing.assert_allclose(found, path[:, AHEAD - 1])


def test_windows_hold_the_day_as_often_as_they_say_and_it_seldom_comes_before() -> None:
    held = before = told = 0
    for seed in range(200):
        values = growing(1500, a_year=1.6, noise=0.02, seed=seed) * wandering(
            1500, seed=seed + 1000, step=0.01
        )
        day = 900 + seed % 60
        past = series(values[: day + 1])
        now = float(values[day - 6 : day + 1].max())
        thresholds = [1.1 * now, 1.25 * now]
        for found, threshold in zip(saturation(Method(past), thresholds), thresholds, strict=True):
            if found.first is None or found.last is None:
                continue
            reached = past.day(day + 1 + int(np.argmax(values[day + 1 :] >= threshold)))
            told += 1
            held += found.first <= reached <= found.last
            before += reached < found.first

    assert told >= 200
    assert 0.70 <= held / told <= 0.92
    assert before / told <= 0.15


def test_what_is_reached_already_or_cannot_be_told_has_the_reason() -> None:
    grown = growing(400)
    now = float(grown[-7:].max())

    already, out_of_reach = saturation(Method(series(grown)), [now, now * 1000])
    wander = wandering(500, seed=6)
    (flat,) = saturation(Method(series(wander)), [1.15 * float(wander[-7:].max())])

    assert already.reason == "it is reached already, in the last seven days"
    assert out_of_reach.reason.startswith("it is not reached in 200 days, the most that 400 days")
    assert "growth may be zero" in flat.reason
    assert {each.first for each in (already, out_of_reach, flat)} == {None}


def test_no_day_is_told_beyond_half_of_the_history() -> None:
    past = series(growing(400, a_year=1.5, noise=0.01))
    marks = [float(past.values[-1]) * (1 + share / 100) for share in range(1, 200, 3)]

    told = [each for each in saturation(Method(past), marks) if each.last]

    assert told
    assert max(each.last for each in told if each.last) <= past.last + timedelta(days=200)
    assert [each.last for each in told] == sorted(each.last for each in told if each.last)


def test_an_order_is_due_before_the_early_edge() -> None:
    past = series(growing(800, a_year=1.5, noise=0.01))
    (found,) = saturation(Method(past), [float(past.values[-1]) * 1.15])

    assert found.first
    assert found.order_by(30) == found.first - timedelta(days=30)
    assert saturation(Method(past), [1e9])[0].order_by(30) is None


def test_edges_only_rise_and_do_not_cross() -> None:
    method = Method(series(wandering(500, seed=4)))

    least, most = Highest(method, 499, 250).edges()

    assert np.all(np.diff(least) >= 0)
    assert np.all(np.diff(most) >= 0)
    assert np.all(least <= most)


def test_a_window_is_of_days_to_come_though_nothing_is_known_of_the_last() -> None:
    values = growing(800, a_year=1.5, noise=0.01)
    end = series(values)
    late = values.copy()
    late[-60:] = np.nan
    now = float(values[-67:-60].max())
    marks = [now * 0.9, now * 1.02, now * 1.07, now * 1.2]

    reached, past, running, later = saturation(Method(series(late)), marks)

    known = end.last - timedelta(days=60)
    assert reached.reason == f"it is reached already, in the last seven days up to {known}"
    assert past.reason == f"it may be reached already: nothing is known since {known}"
    assert running.first == end.last + timedelta(days=1)
    assert running.last
    assert running.last > running.first
    (expected,) = saturation(Method(series(values[:-60])), marks[3:])
    assert (later.first, later.last) == (expected.first, expected.last)


def test_nothing_is_made_up_for_a_series_that_was_all_quiet_once() -> None:
    chance = np.random.default_rng(5)
    quiet = np.full(200, 1e6)
    busy = 5e9 * np.exp(0.1 * chance.standard_normal(200))

    (found,) = saturation(Method(series(np.concatenate([quiet, busy]))), [1e11])
    (at_once,) = saturation(Method(series(np.concatenate([quiet, busy[:1]]))), [1e11])

    assert found.first is None
    assert "as it never did before" not in found.reason
    assert "as it never did before" in at_once.reason

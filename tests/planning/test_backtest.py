"""The backtest against a loop that makes each forecast from what was known then."""

import numpy as np
import pytest

from tests.planning.series import growing, series, wandering
from trafficd.planning.backtest import backtest
from trafficd.planning.forecast import Method, forecast


def test_it_scores_what_would_have_been_forecast() -> None:
    values = wandering(620, seed=8)
    values[500:503] = np.nan
    past = series(values)

    scores = backtest(Method(past), first_days=365, step_days=45)

    origins = [364, 409, 454, 499]
    for score in scores:
        off, inside, width = [], [], []
        for day in origins:
            made = forecast(past.until(past.day(day)), 90)
            for step in range(score.horizon):
                came = values[day + 1 + step]
                if np.isnan(came):
                    continue
                off.append(200 * abs(made.point[step] - came) / (made.point[step] + came))
                inside.append(made.low[0.8][step] <= came <= made.high[0.8][step])
            last = score.horizon - 1
            width.append((made.high[0.8][last] - made.low[0.8][last]) / made.point[last])
        assert score.origins == 4
        assert score.smape == pytest.approx(np.mean(off))
        assert score.covered[0.8] == pytest.approx(np.mean(inside))
        assert score.width == pytest.approx(np.median(width))
    assert [each.horizon for each in scores] == [7, 30, 90]


def test_a_history_that_holds_no_year_and_its_future_has_no_score() -> None:
    assert backtest(Method(series(wandering(454, seed=1)))) == []
    assert len(backtest(Method(series(wandering(455, seed=1))))) == 3


def test_where_nothing_was_said_nothing_is_scored() -> None:
    values = growing(600)
    # On the second of the days on which it was asked it was restless as never before.
    values[:379] = 1.0

    found = backtest(Method(series(values)))

    assert [each.origins for each in found] == [len(range(364, 600 - 90, 15)) - 1] * 3
    assert all(
        np.isfinite([each.smape, each.width, *each.covered.values()]).all() for each in found
    )


def test_a_horizon_of_which_no_day_is_known_has_no_score() -> None:
    values = growing(460)
    values[365:372] = np.nan

    found = backtest(Method(series(values)))

    assert [each.horizon for each in found] == [30, 90]

"""The backtest against a loop that makes each forecast from what was known then."""

import numpy as np
import pytest

from tests.planning.series import series, wandering
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

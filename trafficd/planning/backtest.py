"""The method over the history that is held: its own error, and what its bands held."""

import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from trafficd.errors import HistoryTooShortError
from trafficd.planning.forecast import SHARES, Forecast, Method

HORIZONS = (7, 30, 90)
# A forecast is looked at from where it rests on so many days, and then each time so many later.
_FIRST_DAYS, _STEP_DAYS = 365, 15
FEWEST_DAYS = _FIRST_DAYS + max(HORIZONS)


@dataclass(frozen=True)
class Score:
    """How the method did so many days ahead.

    Units: *smape* in percent, the mean over the days up to the horizon; *covered* share by share,
    of the same days; *width* of the band of 80 % on the day of the horizon, median, of the point.
    """

    horizon: int
    origins: int
    smape: float
    covered: dict[float, float]
    width: float


def backtest(
    method: Method, *, first_days: int = _FIRST_DAYS, step_days: int = _STEP_DAYS
) -> list[Score]:
    """Return a score for each of `HORIZONS` that lies at least once within the history.

    Forecasts are made each *step_days*, from when *first_days* were held, where there are any.
    """
    values = method.series.values
    longest = max(HORIZONS)
    made: list[int] = []
    forecasts: list[Forecast] = []
    for day in range(first_days - 1, len(values) - longest, step_days):
        # What was refused then is not held against what was said.
        with suppress(HistoryTooShortError):
            forecasts += method.forecasts(longest, [day])
            made.append(day)
    if not made:
        return []
    came = np.array([values[day + 1 : day + 1 + longest] for day in made])
    point = np.array([each.point for each in forecasts])
    # Where nothing moved or nothing is known, there is nothing to compare with.
    came = np.where(came > 0, came, math.nan)
    off = 200.0 * np.abs(point - came) / (point + came)
    low = {share: np.array([each.low[share] for each in forecasts]) for share in SHARES}
    high = {share: np.array([each.high[share] for each in forecasts]) for share in SHARES}
    scores = []
    for horizon in HORIZONS:
        path = slice(0, horizon)
        is_known = ~np.isnan(came[:, path])
        if not is_known.any():
            continue
        covered = {}
        for share in SHARES:
            is_within = (low[share] <= came) & (came <= high[share])
            covered[share] = float(np.mean(is_within[:, path][is_known]))
        width = (high[0.8] - low[0.8])[:, horizon - 1] / point[:, horizon - 1]
        scores.append(
            Score(
                horizon,
                len(made),
                float(np.nanmean(off[:, path])),
                covered,
                float(np.median(width)),
            )
        )
    return scores

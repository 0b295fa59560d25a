"""What a series will do, with bands that held what came as often as they say.

A band of 80 % is one that held 80 % of the days so far ahead in the series' own past, forecast by
this method from what was known then. A history that cannot carry that is refused with the reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from trafficd.errors import HistoryTooShortError
from trafficd.planning.daily import DailySeries, Days, Floats, trimmed
from trafficd.planning.errors import (
    WARM_UP_DAYS,
    KnownErrors,
    between,
    knots,
    restlessness,
)
from trafficd.planning.fit import Fit, fit

SHARES = (0.8, 0.95)
FEWEST_DAYS = 28
# Of the last days some must have seen traffic, or what was says nothing of what is.
_RECENT_DAYS = 14


@dataclass(frozen=True)
class Forecast:
    """What is expected of each day from *first* on.

    Shape: point[day], low[share][day], high[share][day].
    """

    first: date
    point: Floats
    low: dict[float, Floats]
    high: dict[float, Floats]

    def days(self) -> Iterator[date]:
        """Yield the day of each value."""
        for number in range(len(self.point)):
            yield self.first + timedelta(days=number)

    def after(self, days: int) -> "Forecast":
        """Return the forecast without so many days at its beginning."""
        return Forecast(
            self.first + timedelta(days=days),
            self.point[days:],
            {share: each[days:] for share, each in self.low.items()},
            {share: each[days:] for share, each in self.high.items()},
        )


class Method:
    """The method, on every day of a series.

    Raises: HistoryTooShortError if there are too few days with traffic.
    """

    def __init__(self, series: DailySeries) -> None:
        self.series = trimmed(series)
        self.fit = _checked_fit(self.series)
        days: Days = np.arange(len(self.series.values))
        self.made = days[WARM_UP_DAYS:]
        self.restlessness = restlessness(errors_ahead(self.fit, days, np.ones(1, int), 0.0)[:, 0])

    @property
    def carries_days(self) -> int:
        """How many days ahead the history carries a forecast: half of what it holds."""
        return len(self.series.values) // 2

    def forecasts(self, horizon: int, made: list[int]) -> Iterator[Forecast]:
        """Yield the forecast of *horizon* days as it would have been made on each day *made*."""
        ahead = knots(horizon)
        every: Days = np.arange(1, horizon + 1)
        for day in made:
            belief = float(self.fit.belief[day])
            (centre,) = self.fit.expected(np.array([day]), every, belief)
            # Of the method as it is on that day, which believes more of a slope than it did before.
            errors = np.abs(errors_ahead(self.fit, self.made, ahead, belief))
            errors /= self.restlessness[self.made, np.newaxis]
            known = KnownErrors(errors, self.made, ahead, day)
            low, high = {}, {}
            for share in SHARES:
                off = known.exceeded_by_few(share)
                off = between(ahead, off, every) * self.restlessness[day]
                low[share], high[share] = np.exp(centre - off), np.exp(centre + off)
            yield Forecast(self.series.day(day + 1), np.exp(centre), low, high)


def forecast(series: DailySeries, horizon: int) -> Forecast:
    """Return the forecast of *series* for the *horizon* days after its last, known or not.

    Raises: HistoryTooShortError if the history does not carry it.
    """
    method = Method(series)
    unknown = (series.last - method.series.last).days
    if horizon + unknown > method.carries_days:
        raise HistoryTooShortError(
            f"{len(method.series.values)} days of history carry a forecast of "
            f"{method.carries_days} days, half of them, not of {horizon}"
        )
    (made,) = method.forecasts(horizon + unknown, [len(method.series.values) - 1])
    return made.after(unknown)


def errors_ahead(fitted: Fit, made: Days, ahead: Days, belief: float) -> Floats:
    """Return how much more came than was expected, so many days after each day *made*.

    Shape: errors[made, ahead]; NaN where it is not known.
    Units: natural logarithms.
    """
    days = made[:, np.newaxis] + ahead
    is_past = days < len(fitted.logs)
    came = np.where(is_past, fitted.logs[np.where(is_past, days, 0)], np.nan)
    errors: Floats = came - fitted.expected(made, ahead, belief)
    return errors


def _checked_fit(series: DailySeries) -> Fit:
    values = series.values
    moved = int(np.count_nonzero(values > 0))
    if moved < FEWEST_DAYS:
        raise HistoryTooShortError(
            f"{moved} days with traffic; a forecast takes {FEWEST_DAYS} at the least"
        )
    if not np.any(values[-_RECENT_DAYS:] > 0):
        raise HistoryTooShortError(f"no traffic in the last {_RECENT_DAYS} days it was seen")
    return fit(values, series.first)

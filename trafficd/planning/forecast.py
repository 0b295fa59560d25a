"""What a series will do, with bands that held what came as often as they say.

A band of 80 % is one that held 80 % of the days so far ahead in the series' own past, forecast by
this method from what was known then. A history that cannot carry that is refused with the reason.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from trafficd.errors import HistoryTooShortError
from trafficd.planning.daily import DailySeries, Days, Floats, trimmed
from trafficd.planning.errors import (
    UNSETTLED,
    WARM_UP_DAYS,
    KnownErrors,
    between,
    in_units,
    knots,
    restlessness,
)
from trafficd.planning.fit import Fit, fit
from trafficd.planning.wording import counted

SHARES = (0.8, 0.95)
FEWEST_DAYS = 28
# Of the last days some must have seen traffic, or what was says nothing of what is.
_RECENT_DAYS = 14
# Of a number that a float still holds.
_LARGEST_LOG = math.log(sys.float_info.max)


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

    Units: *unknown_days* are those at the end of which nothing is known.
    Raises: HistoryTooShortError if there are too few days with traffic, or it was too long ago.
    """

    def __init__(self, series: DailySeries) -> None:
        self.series = trimmed(series)
        self.fit = _checked_fit(self.series)
        self.unknown_days = (series.last - self.series.last).days
        if self.unknown_days >= self.carries_days:
            raise HistoryTooShortError(
                f"nothing is known since {self.series.last}, and {counted(len(self.fit.logs))} of "
                f"history carry a forecast of {counted(self.carries_days)}, half of them"
            )
        days: Days = np.arange(len(self.series.values))
        self.made = days[WARM_UP_DAYS:]
        self.restlessness = restlessness(errors_ahead(self.fit, days, np.ones(1, int), 0.0)[:, 0])

    @property
    def carries_days(self) -> int:
        """How many days ahead the history carries a forecast: half of what it holds."""
        return len(self.series.values) // 2

    def forecasts(self, horizon: int, made: list[int]) -> Iterator[Forecast]:
        """Yield the forecast of *horizon* days as it would have been made on each day *made*.

        Raises: HistoryTooShortError if nothing tells how far off one may be.
        """
        ahead = knots(horizon)
        every: Days = np.arange(1, horizon + 1)
        for day in made:
            belief = float(self.fit.belief[day])
            (centre,) = self.fit.expected(np.array([day]), every, belief)
            now = float(self.restlessness[day])
            # Of the method as it is on that day, which believes more of a slope than it did before.
            errors = np.abs(errors_ahead(self.fit, self.made, ahead, belief))
            errors = in_units(errors, self.restlessness[self.made], now)
            known = KnownErrors(errors, self.made, ahead, day)
            low, high = {}, {}
            for share in SHARES:
                off = between(ahead, known.exceeded_by_few(share), every) * now
                # NaN is no number either.
                if not np.max(centre + off) <= _LARGEST_LOG:
                    raise HistoryTooShortError(UNSETTLED)
                low[share], high[share] = np.exp(centre - off), np.exp(centre + off)
            yield Forecast(self.series.day(day + 1), np.exp(centre), low, high)

    def forecast(self, horizon: int) -> Forecast:
        """Return the forecast of the *horizon* days after the last of the series, known or not.

        Raises: HistoryTooShortError if the history does not carry it.
        """
        days, unknown = len(self.series.values), self.unknown_days
        if horizon + unknown > self.carries_days:
            since = f" from {self.series.last} on" if unknown else ""
            raise HistoryTooShortError(
                f"{counted(days)} of history carry a forecast of {self.carries_days} days{since}, "
                f"half of them, not of {horizon}"
            )
        (made,) = self.forecasts(horizon + unknown, [days - 1])
        return made.after(unknown)


def forecast(series: DailySeries, horizon: int) -> Forecast:
    """Return the forecast of *series* for the *horizon* days after its last, known or not.

    Raises: HistoryTooShortError if the history does not carry it.
    """
    return Method(series).forecast(horizon)


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
            f"{counted(moved)} with traffic; a forecast takes {FEWEST_DAYS} at the least"
        )
    if not np.any(values[-_RECENT_DAYS:] > 0):
        raise HistoryTooShortError(f"no traffic in the last {_RECENT_DAYS} days it was seen")
    return fit(values, series.first)

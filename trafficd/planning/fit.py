"""What a series says of its level, its growth and its week, at the end of each of its days.

Each row rests on nothing but the days up to its own, so that one pass over a history is the
method as it would have been used on every day of it: the backtest and the bands are made of that.

The level is simple exponential smoothing of logarithms, weekday factors are means of what a day was
above the seven days around it, growth is the slope of a straight line through up to two years. Only
a part of the slope is believed, and less of it the shorter the line: over the Tor network's traffic
of 2010 to 2016 that is as good as AutoTheta, and straight lines alone are much worse.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from trafficd.planning.daily import Days, Floats

WEEK = 7
# Between 0.4 and 0.7 the error hardly changes.
_SMOOTHING = 0.5
_WEEKS_OF_FACTORS = 16
_DAYS_OF_SLOPE = 730
# Of the slope through so many days three quarters are believed, and in proportion of a shorter one.
_BELIEVED, _DAYS_TO_BELIEVE = 0.75, 540
_FEWEST_FOR_A_SLOPE = 28
# Of seven days around one so many have to be known for it to tell something of its weekday.
_FEWEST_OF_A_WEEK = 5
_AROUND = WEEK // 2


@dataclass(frozen=True)
class Fit:
    """A series and what is known of it at the end of each day.

    Shape: logs[day] (NaN where a day is unknown or nothing moved), level[day], slope[day],
    belief[day], factors[day, weekday]; Monday is weekday 0.
    Units: natural logarithms; *slope* a day; *belief* is the share of it that is believed.
    """

    logs: Floats
    level: Floats
    slope: Floats
    belief: Floats
    factors: Floats
    weekday: int  # of day 0

    def expected(self, made: Days, ahead: Days, belief: float) -> Floats:
        """Return the logarithms that each day *made* makes expect so many days later.

        Shape: expected[made, ahead].
        Units: *belief* is the share of the slope that is believed.
        """
        days = made[:, np.newaxis]
        line = self.level[days] + belief * self.slope[days] * ahead
        line += self.week_ahead(made)[:, ahead % WEEK]
        return line

    def week_ahead(self, made: Days) -> Floats:
        """Return the factors of the weekdays after each day *made*.

        Shape: factors[made, days after % 7].
        """
        days = made[:, np.newaxis]
        factors: Floats = self.factors[days, (self.weekday + days + np.arange(WEEK)) % WEEK]
        return factors


def fit(values: Floats, first: date) -> Fit:
    """Return the fit of *values*, the first of which is of the day *first*."""
    known = values > 0
    logs = np.full(len(values), np.nan)
    logs[known] = np.log(values[known])
    weekday = first.weekday()
    weekdays: Days = (weekday + np.arange(len(values))) % WEEK
    factors = _factors(logs, weekdays)
    flat = logs - factors[np.arange(len(values)), weekdays]
    slope, belief = _slope(flat)
    return Fit(logs, _level(flat), slope, belief, factors, weekday)


def _factors(logs: Floats, weekdays: Days) -> Floats:
    """Return what each weekday is above the mean of a week, as known at each day's end."""
    known = ~np.isnan(logs)
    around = _sums(np.where(known, logs, 0.0), WEEK), _sums(known, WEEK)
    mean = np.full(len(logs), np.nan)
    enough = around[1] >= _FEWEST_OF_A_WEEK
    mean[enough] = around[0][enough] / around[1][enough]
    # The week that ends on a day is the one around the day three days before.
    above = np.full(len(logs), np.nan)
    above[_AROUND:-_AROUND] = logs[_AROUND:-_AROUND] - mean[2 * _AROUND :]
    factors = np.zeros((len(logs), WEEK))
    for weekday in range(WEEK):
        of_it = (weekdays == weekday) & ~np.isnan(above)
        total = _sums(np.where(of_it, above, 0.0), WEEK * _WEEKS_OF_FACTORS)
        count = _sums(of_it, WEEK * _WEEKS_OF_FACTORS)
        factors[_AROUND:, weekday] = (total / np.maximum(count, 1.0))[:-_AROUND]
    factors -= factors.mean(axis=1, keepdims=True)
    return factors


def _level(flat: Floats) -> Floats:
    level = np.empty(len(flat))
    now = np.nan
    for day, value in enumerate(flat.tolist()):
        if value == value:  # not NaN; the fastest way to ask
            now = value if now != now else now + _SMOOTHING * (value - now)
        level[day] = now
    return level


def _slope(flat: Floats) -> tuple[Floats, Floats]:
    """Return the slope of the least squares line, and what share of it is believed."""
    known = ~np.isnan(flat)
    days = np.arange(len(flat), dtype=float)
    # About the middle, so that squares of days do not swallow the digits of logarithms.
    days -= len(flat) / 2
    y = np.where(known, flat, 0.0)
    x = np.where(known, days, 0.0)
    n, sx, sy = (_sums(each, _DAYS_OF_SLOPE) for each in (known, x, y))
    sxx, sxy = _sums(x * x, _DAYS_OF_SLOPE), _sums(x * y, _DAYS_OF_SLOPE)
    across = n * sxx - sx * sx
    has_line = (n >= _FEWEST_FOR_A_SLOPE) & (across > 0)
    slope = np.zeros(len(flat))
    slope[has_line] = (n * sxy - sx * sy)[has_line] / across[has_line]
    return slope, _BELIEVED * np.minimum(1.0, n / _DAYS_TO_BELIEVE)


def _sums(values: npt.NDArray[np.bool_] | Floats, days: int) -> Floats:
    """Return the sum of the last *days* values at each day."""
    running = np.concatenate([[0.0], np.cumsum(values, dtype=float)])
    ends = np.arange(1, len(values) + 1)
    sums: Floats = running[ends] - running[np.maximum(ends - days, 0)]
    return sums

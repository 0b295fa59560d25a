"""When a series will reach a threshold: a window of days, or the reason why none can be told.

What is asked is the first day at or above the threshold, so what is forecast is the highest day so
far. Its errors in the series' own past give the window: early edges that too few of them were
before, late edges that too few were after.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from trafficd.planning.daily import Days, Floats
from trafficd.planning.errors import UNSETTLED, KnownErrors, between, in_units, knots
from trafficd.planning.fit import WEEK, Fit
from trafficd.planning.forecast import Method
from trafficd.planning.wording import counted

# The window is to hold four times in five. Of the rest, less comes before it than after: an order
# that is late costs more than one that is early.
_BEFORE, _AFTER = 0.08, 0.12
# A year that came out otherwise makes hundreds of errors alike: the one to come counts for a tenth
# of those that overlap with it. Between a twentieth and a fifth the windows hold as much.
_OVERLAPPING = 0.1


@dataclass(frozen=True)
class Saturation:
    """The days between which a threshold is reached, or why they cannot be told."""

    threshold: float
    first: date | None
    last: date | None
    reason: str
    is_reached: bool = False

    def order_by(self, lead_days: int) -> date | None:
        """Return the last day to order on what takes *lead_days* to come, to have it in time."""
        return None if self.first is None else self.first - timedelta(days=lead_days)


def saturation(method: Method, thresholds: Iterable[float], drift: float = 0.0) -> list[Saturation]:
    """Return when each of *thresholds* is reached, in the unit of the series.

    No day is told beyond half of the history that is held, and none where it may not come at all.
    Units: *drift* is growth that is supposed on top of what is expected, a natural logarithm a day.
    """
    series = method.series
    day = len(series.values) - 1
    horizon = method.carries_days
    least, most = Highest(method, day, horizon).edges(drift)
    recent, unknown = series.values[-WEEK:], method.unknown_days
    end = series.day(day + unknown)
    carried = f"in {counted(horizon)}, the most that {counted(day + 1)} of history carry"
    found = []
    for threshold in thresholds:
        # A threshold of nothing is reached on any day.
        mark = math.log(threshold) if threshold > 0 else -math.inf
        is_reached = bool(np.nanmax(recent) >= threshold)
        if is_reached:
            reason = "it is reached already, in the last seven days"
            if unknown:
                reason += f" up to {series.last}"
        elif np.isnan(most[-1] + least[-1]):
            reason = UNSETTLED
        elif most[-1] < mark:
            reason = f"it is not reached {carried}"
        elif least[-1] < mark:
            reason = f"it may not be reached at all: {carried}, growth may be zero"
        else:
            first, last = (series.day(day + 1 + int(np.argmax(e >= mark))) for e in (most, least))
            if last > end:
                first = max(first, end + timedelta(days=1))
                found.append(Saturation(threshold, first, last, ""))
                continue
            reason = f"it may be reached already: nothing is known since {series.last}"
        found.append(Saturation(threshold, None, None, reason, is_reached))
    return found


class Highest:
    """The highest day to come after *day*, and how far the method was off about such before."""

    def __init__(self, method: Method, day: int, horizon: int) -> None:
        self._method = method
        self._day = day
        self._every: Days = np.arange(1, horizon + 1)
        self._ahead = knots(horizon)
        self._belief = float(method.fit.belief[day])
        came = highest_ahead(method.fit.logs, self._ahead)[method.made]
        errors = came - highest_expected(method.fit, method.made, self._ahead, self._belief)
        self._errors = in_units(
            errors, method.restlessness[method.made], float(method.restlessness[day])
        )

    def edges(self, drift: float = 0.0) -> tuple[Floats, Floats]:
        """Return what the highest day so far is at the least and at the most, for each day ahead.

        Units: natural logarithms; less comes in 12 % of the cases, and more in 8 %.
        """
        (expected,) = self._method.fit.expected(np.array([self._day]), self._every, self._belief)
        centre = np.maximum.accumulate(expected + drift * self._every)
        under, over = self._off(-1.0, _AFTER), self._off(1.0, _BEFORE)
        return np.maximum.accumulate(centre - under), np.maximum.accumulate(centre + over)

    def _off(self, sign: float, outside: float) -> Floats:
        made, day = self._method.made, self._day
        to_come = 1.0 + _OVERLAPPING * self._ahead
        known = KnownErrors(sign * self._errors, made, self._ahead, day)
        off = known.exceeded_by_few(1.0 - outside, to_come)
        drawn: Floats = between(self._ahead, off, self._every) * self._method.restlessness[day]
        return drawn


def highest_expected(fitted: Fit, made: Days, ahead: Days, belief: float) -> Floats:
    """Return the highest expected of the days up to so many after each day *made*.

    On a line with a week on it, that is in its first week or in its last.
    """
    week, slope = fitted.week_ahead(made), belief * fitted.slope[made, np.newaxis]
    highest = np.full((len(made), len(ahead)), -np.inf)
    for step in range(WEEK):
        for steps in (np.maximum(ahead - step, 1), np.minimum(ahead, step + 1)):
            np.maximum(highest, slope * steps + week[:, steps % WEEK], out=highest)
    return highest + fitted.level[made, np.newaxis]


def highest_ahead(logs: Floats, ahead: Days) -> Floats:
    """Return the highest of the days up to so many after each day; NaN where not all are past.

    Shape: highest[day, ahead].
    """
    known = np.where(np.isnan(logs), -np.inf, logs)
    days = len(logs)
    highest = np.full((days, len(ahead)), np.nan)
    # Of each power of two days, the highest from a day on; two of them cover any number of days.
    powers = [known]
    while 2 << len(powers) - 1 <= days:
        half = powers[-1]
        width = 1 << len(powers) - 1
        powers.append(np.maximum(half[: len(half) - width], half[width:]))
    for column, steps in enumerate(ahead.tolist()):
        if steps >= days:
            continue
        power = powers[steps.bit_length() - 1]
        width = 1 << steps.bit_length() - 1
        begins = np.arange(1, days - steps + 1)
        highest[begins - 1, column] = np.maximum(power[begins], power[begins + steps - width])
    highest[np.isneginf(highest)] = np.nan
    return highest

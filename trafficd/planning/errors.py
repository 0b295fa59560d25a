"""How far the method was off on the days of a history, and so how far it may be off now.

An error is that of a logarithm, so many days ahead, in units of how restless the series was at the
time: the mean error of one day ahead over the four months before. What was not exceeded by 80 % of
the errors is the half width of the band that holds 80 % (conformal prediction: Vovk, Gammerman and
Shafer, Algorithmic Learning in a Random World); recent errors count more (Barber, Candes, Ramdas
and Tibshirani, Conformal prediction beyond exchangeability, 2023).
"""

import numpy as np
import numpy.typing as npt

from trafficd.planning.daily import Days, Floats

_DAYS_OF_RESTLESSNESS = 120
# A series that never moves has bands all the same.
_LEAST_RESTLESSNESS = 1e-3
# An error from a quieter time counts for so many times itself at the most, and one from a time that
# was so much quieter for nothing: what hardly moved at all is no measure of what does. On the Tor
# network's traffic it is 2.4 times at the most.
_MOST_TIMES, _ANOTHER_TIME = 5.0, 30.0
# What is said where no error is known that measures what may come.
UNSETTLED = "it goes up and down as it never did before, and nothing tells yet how far it may go"
# Errors of many days ahead overlap, so that it takes longer to see as many.
_HALF_LIFE_DAYS, _HALF_LIVES_AHEAD = 150.0, 2.0
# Errors from before the method knew anything say nothing of it.
WARM_UP_DAYS = 14
_FEWEST_ERRORS = 20
# The shortest history that is forecast has 13 of a day ahead.
_LEAST_ERRORS = 10
_KNOTS = 24


def knots(horizon: int) -> Days:
    """Return the days ahead for which errors are looked at; between them bands are drawn."""
    return np.unique(np.round(np.geomspace(1, max(horizon, 1), _KNOTS)).astype(np.int64))


def between(ahead: Days, values: Floats, every: Days) -> Floats:
    """Return *values*, known for the days *ahead*, for *every* day."""
    drawn: Floats = np.interp(np.log(every), np.log(ahead), values)
    return drawn


def restlessness(one_day_errors: Floats) -> Floats:
    """Return the mean error of one day ahead, as known at the end of each day.

    Shape: one_day_errors[day the forecast was made]; NaN where it is not known.
    """
    # What was off about a day is known a day later.
    off = np.concatenate([[np.nan], np.abs(one_day_errors[:-1])])
    known = ~np.isnan(off)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, off, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    ends = np.arange(1, len(off) + 1)
    begins = np.maximum(ends - _DAYS_OF_RESTLESSNESS, 0)
    mean = (total[ends] - total[begins]) / np.maximum(count[ends] - count[begins], 1)
    mean_or_least: Floats = np.maximum(mean, _LEAST_RESTLESSNESS)
    return mean_or_least


def in_units(errors: Floats, restless: Floats, now: float) -> Floats:
    """Return *errors* in units of how restless the series was when they were made, or is *now*.

    Shape: errors[made, ahead], restless[made]; NaN for those that are no measure of now.
    """
    units = np.maximum(restless, now / _MOST_TIMES)
    units[restless < now / _ANOTHER_TIME] = np.nan
    found: Floats = errors / units[:, np.newaxis]
    return found


class KnownErrors:
    """The errors that are known at the end of a day, ranked.

    Shape: errors[made, ahead]; *made* are the days that forecasts were made on, *at* is the day.
    """

    def __init__(self, errors: Floats, made: Days, ahead: Days, at: int) -> None:
        ages = at - (made[:, np.newaxis] + ahead)
        is_known = (ages >= 0) & ~np.isnan(errors)
        half_lives = np.maximum(_HALF_LIFE_DAYS, _HALF_LIVES_AHEAD * ahead)
        weights = np.where(is_known, 0.5 ** (np.maximum(ages, 0) / half_lives), 0.0)
        order = np.argsort(np.where(is_known, errors, np.inf), axis=0)
        self._ahead = ahead
        self._ranked = np.take_along_axis(errors, order, axis=0)
        self._reached = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
        self._counts = is_known.sum(axis=0)

    def exceeded_by_few(
        self, share: float, to_come: float | npt.NDArray[np.floating] = 1.0
    ) -> Floats:
        """Return what was not exceeded by *share* of them, for each of *ahead*.

        NaN where there are hardly any errors at all. Where there are too few of them so far ahead,
        what the farthest with enough says grows in proportion to the days; of a young history half
        as many as a day ahead are enough. The error to come is one more, and counts for *to_come*
        new ones.
        """
        ahead, counts = self._ahead, self._counts
        place = (self._reached < share * (self._reached[-1] + to_come)).sum(axis=0)
        place = np.minimum(place, np.maximum(counts - 1, 0))
        found: Floats = self._ranked[place, np.arange(len(ahead))]
        most = int(counts.max())
        if most < _LEAST_ERRORS:
            return np.full(len(ahead), np.nan)
        farthest = int(np.flatnonzero(counts >= min(_FEWEST_ERRORS, most // 2))[-1])
        beyond = slice(farthest + 1, None)
        found[beyond] = found[farthest] * ahead[beyond] / ahead[farthest]
        return found

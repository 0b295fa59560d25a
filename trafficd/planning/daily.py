"""A series with one value a day: what a planner reasons about."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Days, counted from the first of a series, or from a day on.
Days = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DailySeries:
    """What one thing moved, a value a day.

    Shape: values[day], day 0 is *first*; NaN where nothing is known of a day.
    """

    name: str
    first: date
    values: Floats

    @property
    def last(self) -> date:
        """The day of the last value."""
        return self.day(len(self.values) - 1)

    def day(self, number: int) -> date:
        """Return the date of a day, which may lie behind the last."""
        return self.first + timedelta(days=number)

    def until(self, day: date) -> "DailySeries":
        """Return the series as it was known at the end of *day*."""
        return replace(self, values=self.values[: max(0, (day - self.first).days + 1)])


def trimmed(series: DailySeries) -> DailySeries:
    """Return *series* without days at its ends of which nothing is known."""
    known = np.flatnonzero(~np.isnan(series.values))
    if not len(known):
        return replace(series, values=series.values[:0])
    begin, end = int(known[0]), int(known[-1]) + 1
    return replace(series, first=series.day(begin), values=series.values[begin:end])

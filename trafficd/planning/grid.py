"""The grid that a node's releases stand on, and what is moved from one point of it to the next."""

from collections.abc import Iterable
from math import gcd

import numpy as np

from trafficd.planning.daily import Floats
from trafficd.planning.day_table import DAY_SECONDS

# The window unless the configuration says otherwise; what a single release says is no more.
_USUAL_WINDOW_SECONDS = 60 * 60
# The window is seen in the last releases: in the last day that has any, and the day before.
SEEN_SECONDS = 2 * DAY_SECONDS


def window_of(times: Iterable[int]) -> int:
    """Return the longest window on whose grid all *times* are, as every window divides a day.

    Two releases that follow each other tell it: nothing but their window divides both.
    """
    known = set(times)
    if len(known) > 1:
        return gcd(DAY_SECONDS, *known)
    return gcd(_USUAL_WINDOW_SECONDS, *known)


def end_of_last(last_at: int, until: int) -> int:
    """Return the end of the last day with a release, days counted back from *until*."""
    return until - (until - last_at) // DAY_SECONDS * DAY_SECONDS


def first_point(since: int, window_seconds: int) -> int:
    """Return the first grid point that is not before *since*."""
    return -(-since // window_seconds) * window_seconds


def moved_in_windows(totals: Floats, started_at: Floats) -> Floats:
    """Return what was moved from each grid point to the next.

    Shape: totals[counter, point], started_at[point]; NaN where a release is missing. A release of
    another run, or one with a total that fell, has moved all that it states.
    """
    whole = np.floor(totals)
    before, after = whole[:, :-1], whole[:, 1:]
    # Nothing is another than what is not known.
    is_other = np.abs(np.diff(started_at)) > 0
    begins = is_other | (after < before).any(axis=0)
    moved: Floats = np.where(begins & ~np.isnan(before), after, after - before)
    return moved

"""The 95th percentile of slots, from their rates or from how many had which utilisation.

The reader publishes no series of slots, but a day's counts by utilisation. They give the percentile
within a bucket: which one it is, is known; where in it, is estimated as PromQL's histogram_quantile
does, as if its slots were spread evenly.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
import numpy.typing as npt

from trafficd.planning.daily import Floats
from trafficd.planning.node_history import Counts
from trafficd.schema import UTILISATION_PERCENTS

# What a bucket's slots lie between, of the capacity: above the one, up to the other.
_LOWER = np.array([0, *UTILISATION_PERCENTS]) / 100
_UPPER = np.append(_LOWER[1:], np.inf)
Numbers = npt.NDArray[np.int64]


class Method(StrEnum):
    """How the rank of the percentile is rounded."""

    CEIL = "ceil"
    LIBRENMS = "librenms"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate, and how far off it may be.

    Units: bits per second.
    """

    value: float
    # None where that is not known.
    error: float | None
    # Whether slots above 100 % of a capacity decide: it is *value* at the least.
    is_above_capacity: bool = False


@dataclass(frozen=True, slots=True)
class Above:
    """How many slots are above a rate; both the same where that is known."""

    least: int
    most: int


@dataclass(frozen=True)
class Rates:
    """Slots by their mean rate.

    Shape: values[slot], all of them known, in any order.
    Units: bits per second; *error* is how far off each may be, None where that is not known.
    """

    values: Floats
    error: float | None = 0.0

    def percentile(self, method: Method) -> Estimate:
        """Return the 95th percentile.

        Raises: IndexError if there are no slots.
        """
        # Rates that are off by no more than that change no rank's by more.
        return Estimate(percentile_95(self.values, method), self.error)

    def above(self, rate: float) -> Above:
        """Return how many slots are above *rate*."""
        count = int(np.count_nonzero(self.values > rate))
        return Above(count, count)


@dataclass(frozen=True)
class Buckets:
    """Slots by the two rates that theirs is between: above the lower, up to the upper one.

    Shape: lower[bucket], upper[bucket] and counts[bucket], in any order; they overlap where the
    capacity was another on some days.
    Units: bits per second.
    """

    lower: Floats
    upper: Floats
    counts: Numbers

    @classmethod
    def of(cls, counts: Counts, capacity: Floats, moved: Floats | None = None) -> Self:
        """Return the slots of days; those without a capacity have no rate and are left out.

        Where nothing *moved* all day, the slots of the lowest bucket are of nothing, and not of up
        to what it holds.
        Shape: counts[day, bucket], moved[day], capacity[day]; NaN or 0 where none is stated.
        """
        stated = capacity > 0
        nothing = 0
        if moved is not None:
            idle = stated & (moved == 0)
            nothing = int(counts[idle, 0].sum(dtype=np.int64))
            counts = counts.copy()
            counts[idle, 0] = 0
        capacities, which = np.unique(capacity[stated], return_inverse=True)
        summed = np.zeros((len(capacities), len(_LOWER)), np.int64)
        np.add.at(summed, which, counts[stated])
        rows = capacities[:, np.newaxis]
        lower, upper = (np.append(rows * bounds, 0.0) for bounds in (_LOWER, _UPPER))
        return cls(lower, upper, np.append(summed, nothing))

    @property
    def total(self) -> int:
        """How many slots they are."""
        return int(self.counts.sum())

    def percentile(self, method: Method) -> Estimate:
        """Return the 95th percentile, estimated between the rates that it is between.

        Raises: IndexError if there are no slots.
        """
        at = rank(self.total, method)
        if not at:
            raise IndexError("no slots")
        least, most = (_ranked(edges, self.counts, at) for edges in (self.lower, self.upper))
        if np.isinf(most):
            return Estimate(least, None, is_above_capacity=True)
        return Estimate(self._interpolated(at), most - least)

    def above(self, rate: float) -> Above:
        """Return how many slots are above *rate*, at the least and at the most."""
        # The lowest bucket holds the slots of nothing too: they are above no rate.
        surely = (self.lower >= rate) & (self.lower > 0)
        return Above(int(self.counts[surely].sum()), int(self.counts[self.upper > rate].sum()))

    def _interpolated(self, at: int) -> float:
        """Return the rate that *at* slots are up to, were those of a bucket spread evenly in it."""
        ends = np.isfinite(self.upper) & (self.counts > 0)
        lower, upper, counts = self.lower[ends], self.upper[ends], self.counts[ends]
        edges = np.unique(np.concatenate([lower, upper]))
        # A bucket of one rate is passed at once.
        wide = np.where(upper > lower, upper - lower, 1.0)
        parts = np.where(upper > lower, (edges[:, np.newaxis] - lower) / wide, 1.0)
        up_to = np.clip(parts, 0.0, 1.0) @ counts
        # The first edge that so many are up to, and the line to it from the one before.
        # Between buckets it is a sum of whole ones, which is exact: no step is missed or taken.
        end = int(np.searchsorted(up_to, at))
        if not end:
            return float(edges[0])
        begin = end - 1
        share = (at - up_to[begin]) / (up_to[end] - up_to[begin])
        return float(edges[begin] + (edges[end] - edges[begin]) * share)


def rank(count: int, method: Method) -> int:
    """Return which of *count* ranked slots is the 95th percentile, the lowest being 1."""
    if method is Method.LIBRENMS:
        # LibreNMS takes the one at round(count / 100 * 95) - 1, counted from 0 (getRates and
        # get95thIn in LibreNMS/Billing.php), and PHP's round() takes a half away from zero.
        return (95 * count + 50) // 100
    # Rounding picks a lower one for almost half of all counts.
    return (95 * count + 99) // 100


def percentile_95(rates: Floats, method: Method) -> float:
    """Return the nearest-rank 95th percentile of the known *rates*, as transit is billed.

    Shape: a mean a slot, in any order; NaN where none is known.
    Units: bits per second, in and out.
    Raises: IndexError if none is known.
    """
    known = rates[~np.isnan(rates)]
    if not len(known):
        raise IndexError("no slots")
    at = rank(len(known), method) - 1
    return float(np.partition(known, at)[at])


def from_histogram(
    counts: Counts, capacity: Floats, method: Method, moved: Floats | None = None
) -> Estimate:
    """Return the 95th percentile of the slots of all days together.

    Its error is the width of the bucket it is in; where the capacity was another on some days,
    that of what buckets leave open together.
    Shape: counts[day, bucket] as schema.UTILISATION_BOUNDS has them, capacity[day], moved[day].
    Raises: IndexError if there are no slots on days with a capacity.
    """
    return Buckets.of(counts, capacity, moved).percentile(method)


def day_percentiles(counts: Counts, capacity: Floats, moved: Floats | None = None) -> Floats:
    """Return the 95th percentile of each day's slots, by the ceil rank.

    Where nothing *moved*, that of the lowest bucket is 0.
    Shape: counts[day, bucket], capacity[day], moved[day]; NaN for a day without slots or without a
    capacity.
    Units: bits per second; a day decided above 100 % of its capacity has just that.
    """
    up_to = np.cumsum(counts, axis=1, dtype=np.int64)
    total = up_to[:, -1]
    at = (95 * total + 99) // 100
    bucket = np.count_nonzero(up_to < at[:, np.newaxis], axis=1)
    days = np.arange(len(counts))
    inside = counts[days, bucket]
    before = up_to[days, bucket] - inside
    is_open = bucket == len(UTILISATION_PERCENTS)
    width = np.where(is_open, 0.0, _UPPER[np.minimum(bucket, len(UTILISATION_PERCENTS) - 1)])
    width -= np.where(is_open, 0.0, _LOWER[bucket])
    share = _LOWER[bucket] + width * (at - before) / np.maximum(inside, 1)
    if moved is not None:
        share[(bucket == 0) & (moved == 0)] = 0.0
    known = (total > 0) & (capacity > 0)
    return np.where(known, share * np.where(known, capacity, np.nan), np.nan)


def _ranked(edges: Floats, counts: Numbers, at: int) -> float:
    """Return the edge of the slot *at* a rank, were each slot's rate the edge of its bucket."""
    order = np.argsort(edges, kind="stable")
    return float(edges[order][np.searchsorted(np.cumsum(counts[order]), at)])

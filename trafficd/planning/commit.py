"""What transit costs: a commit that is paid in any case, and the percentile above it."""

from dataclasses import dataclass

from trafficd.planning.period import Period

_BITS_A_MEGABIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a percentile stands to a commit.

    Units: *room* is bits per second, below 0 above the commit; *share* is the percentile's of the
    commit, None where the commit is 0.
    """

    room: float
    share: float | None


@dataclass(frozen=True, slots=True)
class Bill:
    """What a period costs, in the unit of its price.

    *projected* is for the whole period, if the percentile of the slots so far is that of all;
    *to_date* is its part for the time that is over.
    """

    to_date: float
    projected: float


def standing(p95: float, commit: float) -> Standing:
    """Return where *p95* stands to *commit*, both in bits per second."""
    return Standing(commit - p95, p95 / commit if commit > 0 else None)


def bill(p95: float, commit: float, price_per_mbit: float, period: Period, now: int) -> Bill:
    """Return what *period* costs at a price for each Mbit/s of the greater of *p95* and *commit*.

    Units: bits per second, UTC seconds.
    """
    projected = max(p95, commit) / _BITS_A_MEGABIT * price_per_mbit
    seconds = min(max(now, period.begin), period.end) - period.begin
    return Bill(projected * seconds / (period.end - period.begin), projected)

"""May a group's bytes be told: the three rules that a pool has to pass.

A pool is what a group moved since its cell was last released. The rules are the usual ones of
statistical disclosure control for magnitude tables: a threshold of contributors, the p% rule (the
second-largest contributor cannot estimate the largest within p percent) and a dominance rule.
Without the last two, one heavy session for twelve hours and nine idle ones would pass, and the
release would be that session.
"""

from dataclasses import dataclass
from enum import StrEnum

from trafficd.accounting.seats import Seats, two_fullest
from trafficd.releases import Totals
from trafficd.schema import CONTRIBUTION_BYTES, LARGEST_PERCENT, P_PERCENT


class Reason(StrEnum):
    """Why a group passed or was held."""

    EMPTY = "nothing moved"
    ENOUGH = "enough contributors, none of them large"
    UNKNOWN = "population unknown, no contributor large"
    FEW = "too few contributors"
    ESTIMABLE = "the second-largest contributor could estimate the largest"
    DOMINATED = "one contributor has more than half"


_PASSING = (Reason.EMPTY, Reason.ENOUGH, Reason.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Pool:
    """What a group moved since its cell's last release; *shared_bytes* of it over shared links."""

    moved: Totals
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a group may be told, and why; for a terminal, never for an exporter."""

    reason: Reason
    pool: Pool
    contributors: int

    @property
    def passes(self) -> bool:
        """Whether the group passes."""
        return self.reason in _PASSING


def judge(pool: Pool, seats: Seats, *, fewest: int) -> Judgement:
    """Judge a group by its *pool* and its *seats*; *fewest* is k, the contributors it needs."""
    contributors = seats.with_at_least(CONTRIBUTION_BYTES)
    return Judgement(_reason(pool, seats, contributors, fewest), pool, contributors)


def _reason(pool: Pool, seats: Seats, contributors: int, fewest: int) -> Reason:
    if not (pool.moved.rx_bytes or pool.moved.tx_bytes):
        return Reason.EMPTY
    # Nobody counts the clients behind a shared link.
    if contributors < fewest and not pool.shared_bytes:
        return Reason.FEW
    for total, column in (
        (pool.moved.rx_bytes, seats.rx_bytes),
        (pool.moved.tx_bytes, seats.tx_bytes),
    ):
        largest, second = two_fullest(column)
        if 100 * (total - largest - second) < P_PERCENT * largest:
            return Reason.ESTIMABLE
        if 100 * largest > LARGEST_PERCENT * total:
            return Reason.DOMINATED
    return Reason.UNKNOWN if pool.shared_bytes else Reason.ENOUGH

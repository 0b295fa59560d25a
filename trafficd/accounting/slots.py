"""5-minute uplink rates to a daily utilisation histogram: the peak without the clock.

A planner needs the 95th percentile of the slots of transit billing, and a series of slots is what
never leaves. So each slot is counted by its utilisation, a direction for itself, and only the
counts leave, at 00:00 UTC: the percentile comes back within a bucket, the order of the slots is
gone.

A slot counts if it was wholly observed: its counters were read at both its ends, both on time by
both clocks, and nothing kept the reader from seeing all of it.
"""

from collections import deque
from typing import Self

from trafficd.accounting.state import Edge, SlotsState
from trafficd.accounting.window import LATEST_SECONDS
from trafficd.clock import Moment
from trafficd.releases import Totals, Utilisation
from trafficd.schema import SLOT_SECONDS, UTILISATION_PERCENTS

_SLOTS_A_DAY = 24 * 60 * 60 // SLOT_SECONDS


class Slots:
    """The slots of one run, counted by utilisation."""

    def __init__(self, *, speed: float = 1.0) -> None:
        """Count on a clock *speed* times as fast, where a machine is late by as much more."""
        self._latest_seconds = min(LATEST_SECONDS * speed, SLOT_SECONDS / 2)
        self._opened: Edge | None = None
        self._asked = 0
        # A clock set back meets slots again that were counted; a day has no more than these.
        self._counted: deque[int] = deque(maxlen=_SLOTS_A_DAY)
        self._receive = [0] * (len(UTILISATION_PERCENTS) + 1)
        self._transmit = [0] * (len(UTILISATION_PERCENTS) + 1)

    @classmethod
    def restored(cls, state: SlotsState, *, speed: float = 1.0) -> Self:
        """Return the slots of *state*, the one under way included."""
        slots = cls(speed=speed)
        slots._opened = state.opened
        slots._asked = state.asked
        slots._counted.extend(state.counted)
        slots._receive = list(state.counts.receive)
        slots._transmit = list(state.counts.transmit)
        return slots

    def state(self) -> SlotsState:
        """Return all that ``restored`` takes."""
        return SlotsState(self._opened, self._asked, tuple(self._counted), self.utilisation())

    def due(self, now: Moment) -> int | None:
        """Return the edge between two slots to read the counters at, if it is now."""
        edge = _before(now)
        if edge == self._asked or now.utc_seconds - edge > self._latest_seconds:
            return None
        return edge

    def seconds_to_next(self, now: Moment) -> float:
        """Return how long after *now* it is worth asking again."""
        return _before(now) + SLOT_SECONDS - now.utc_seconds

    def turn(self, edge: int, now: Moment, totals: Totals, capacity_bits_per_second: int) -> None:
        """End the slot before *edge* and begin the one after it.

        *totals* are those of the uplinks that the capacity is of, read at *now*.
        """
        opened, self._opened, self._asked = self._opened, None, edge
        if now.utc_seconds - edge > self._latest_seconds:
            return
        self._opened = Edge(edge, now.elapsed_seconds, totals)
        if opened is None or opened.at != edge - SLOT_SECONDS or opened.at in self._counted:
            return
        seconds = now.elapsed_seconds - opened.elapsed_seconds
        if abs(seconds - SLOT_SECONDS) > self._latest_seconds or not capacity_bits_per_second:
            return
        self._counted.append(opened.at)
        carried_bytes = capacity_bits_per_second * seconds / 8
        self._receive[_bucket(totals.rx_bytes - opened.totals.rx_bytes, carried_bytes)] += 1
        self._transmit[_bucket(totals.tx_bytes - opened.totals.tx_bytes, carried_bytes)] += 1

    def spoil(self) -> None:
        """Leave the slot under way out: not all of it was seen."""
        self._opened = None

    def utilisation(self) -> Utilisation:
        """Return the counts so far."""
        return Utilisation(tuple(self._receive), tuple(self._transmit))


def _before(now: Moment) -> int:
    return int(now.utc_seconds // SLOT_SECONDS) * SLOT_SECONDS


def _bucket(moved_bytes: int, carried_bytes: float) -> int:
    """Return the first bucket that *moved_bytes* of *carried_bytes* fit in."""
    for number, percent in enumerate(UTILISATION_PERCENTS):
        if 100 * moved_bytes <= percent * carried_bytes:
            return number
    return len(UTILISATION_PERCENTS)

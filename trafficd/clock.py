"""The clock: what time it is on the grid, and how much time has really passed."""

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks.

    *utc_seconds* says where on the grid we are and may be stepped; *elapsed_seconds* never is, and
    runs on through suspend. Both are slewed alike, so that without a step their distance is fixed.
    """

    utc_seconds: float
    elapsed_seconds: float


class Clock(Protocol):
    """Where time comes from; a laboratory or a test brings its own."""

    @property
    def speed(self) -> float:
        """How many of its seconds pass in a second: 1, but in a laboratory."""
        ...

    def now(self) -> Moment:
        """Return the present moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when *seconds* of this clock have passed."""
        ...


class SystemClock:
    """The kernel's clocks: CLOCK_REALTIME and CLOCK_BOOTTIME (clock_gettime(2))."""

    speed = 1.0

    def now(self) -> Moment:
        """Return the present moment."""
        return Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))

    async def sleep(self, seconds: float) -> None:
        """Return when *seconds* have passed."""
        await asyncio.sleep(seconds)

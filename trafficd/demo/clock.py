"""A clock that runs faster than the world's, for links that the demo made itself."""

import asyncio
import time
from dataclasses import dataclass

from trafficd.clock import Moment


@dataclass(frozen=True, slots=True)
class FastClock:
    """A clock on which *speed* seconds pass in a second; every process of the demo has the same.

    Only the demo and the lab may use it: on real links it would make windows shorter than the floor
    that protects the people behind them, and a test of the imports says so.
    Units: *utc_start* is shown when CLOCK_BOOTTIME stands at *boot_start*, both in seconds.
    """

    utc_start: float
    boot_start: float
    speed: float

    @classmethod
    def starting_in(cls, seconds: float, *, window_seconds: int, speed: float) -> "FastClock":
        """Return a clock that shows the grid point before the true time in *seconds* from now."""
        grid_point = time.time() // window_seconds * window_seconds
        return cls(grid_point, time.clock_gettime(time.CLOCK_BOOTTIME) + seconds, speed)

    def now(self) -> Moment:
        """Return the present moment."""
        passed = (time.clock_gettime(time.CLOCK_BOOTTIME) - self.boot_start) * self.speed
        return Moment(self.utc_start + passed, self.boot_start + passed)

    async def sleep(self, seconds: float) -> None:
        """Return when *seconds* of this clock have passed."""
        await asyncio.sleep(self.real(seconds))

    def real(self, seconds: float) -> float:
        """Return how long *seconds* of this clock take in the world."""
        return seconds / self.speed

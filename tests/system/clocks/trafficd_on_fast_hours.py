"""`trafficd` on the kernel's own clocks, of which SPEED seconds count as one.

A step of CLOCK_REALTIME is a step here, and what CLOCK_BOOTTIME gains in a suspend is gained here;
only the windows are over sooner. The arguments are trafficd's.
"""

import asyncio
import sys

import trafficd.clock
from trafficd.clock import Moment, SystemClock

SPEED = 40.0


class FastHours(SystemClock):
    speed = SPEED

    def now(self) -> Moment:
        now = super().now()
        return Moment(now.utc_seconds * SPEED, now.elapsed_seconds * SPEED)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


if __name__ == "__main__":
    # Before a command takes it from there.
    trafficd.clock.SystemClock = FastHours  # type: ignore[misc]
    from trafficd.cli import main

    sys.exit(main())

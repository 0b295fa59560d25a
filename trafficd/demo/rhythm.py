"""How busy a place is at a time: the hours of its day and the days of its week, around 1.

The same numbers make the past, in which nothing moved, and what real links move now, so that one
goes on where the other ends.
"""

import math
from functools import lru_cache

from trafficd.schema import SLOT_SECONDS

DAY_SECONDS = 24 * 60 * 60
SLOTS_A_DAY = DAY_SECONDS // SLOT_SECONDS
# Evenings are busy, and the hours before dawn are quiet: a cosine with a narrower top than bottom.
_FIRST_WAVE, _SECOND_WAVE = 0.40, 0.05
# From Monday on; they add up to seven.
WEEK = (0.98, 0.975, 0.98, 0.99, 1.02, 1.035, 1.02)
# 1970-01-01 was a Thursday.
_FIRST_WEEKDAY = 3


@lru_cache(maxsize=32)
def day_shape(busiest_hour: int) -> tuple[float, ...]:
    """Return how busy each slot of the UTC day is; the mean is 1."""
    turns = (
        2.0 * math.pi * (slot / SLOTS_A_DAY - busiest_hour / 24) for slot in range(SLOTS_A_DAY)
    )
    return tuple(
        1.0 + _FIRST_WAVE * math.cos(turn) + _SECOND_WAVE * math.cos(2.0 * turn) for turn in turns
    )


def weekday(day: int) -> int:
    """Return which day of the week the UTC day numbered *day* since 1970 is, Monday 0."""
    return (day + _FIRST_WEEKDAY) % len(WEEK)


def busy(at: float, busiest_hour: int) -> float:
    """Return how busy a place is at *at*, UTC seconds."""
    slot = int(at % DAY_SECONDS) // SLOT_SECONDS
    return day_shape(busiest_hour)[slot] * WEEK[weekday(int(at // DAY_SECONDS))]

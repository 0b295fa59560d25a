"""What a process that computes plans is asked, and what it answers (worker.py).

Who asks need not know how a plan is made: nothing here loads what it takes.
"""

from datetime import date

import msgspec

from trafficd.planning.document import Plan, WhatIf

# Before each answer stands how long it is, big-endian.
LENGTH_BYTES = 8


class Settings(msgspec.Struct, frozen=True):
    """What a worker is started with."""

    database: str
    thresholds: tuple[float, ...]
    order_at: float
    lead_days: int


class Question(msgspec.Struct, frozen=True):
    """A plan as of the end of a day; with *supposed*, the last one's ranking as it would be."""

    until: date
    supposed: list[tuple[str, str]] | None = None


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer, or the sentence why there is none; a plan is left out where it is as before."""

    plan: Plan | None = None
    what_if: WhatIf | None = None
    error: str | None = None

"""What a node of the made-up past moved: a function of its name and the time, as arrays.

Every slot of 300 s moves whole bytes; totals and histogram are both counted from the slots, so that
they agree. The noise of a slot is a hash of its number: whoever asks again gets the same, for any
part of the time.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trafficd.demo.fleet import Member, Outage, Span
from trafficd.demo.rhythm import DAY_SECONDS, SLOTS_A_DAY, WEEK, day_shape, weekday
from trafficd.releases import Release, Totals
from trafficd.schema import ROUNDING_BYTES, SLOT_SECONDS, UTILISATION_BOUNDS, UTILISATION_PERCENTS
from trafficd.series import Series, series_of

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CLASSES = ("ppp", "wireguard")
_HOUR_SECONDS = 60 * 60
_SLOTS_AN_HOUR = _HOUR_SECONDS // SLOT_SECONDS
_YEAR_SECONDS = 365 * DAY_SECONDS
# How much days, hours and slots differ, as natural logarithms.
_DAYS, _HOURS, _SLOTS = 0.015, 0.04, 0.05
# Of what tunnels move, clients send so much, and it differs by so much.
_RECEIVED, _RECEIVED_DIFFERS = 0.2, 0.05
# Two years ago there was more ppp: a year makes so much of its share.
_LESS_PER_SESSION = 0.1
# What outer packets add to the inner ones: the least, and how much more on some days.
_OVERHEAD, _MORE_OVERHEAD = 0.06, 0.03
# As of splitmix64, https://prng.di.unimi.it/splitmix64.c
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST_SHIFT = np.uint64(31)


class Moved:
    """What the links of *member* move in slots *first* to *last*, without the latter.

    Units: a slot is numbered by its beginning, UTC seconds divided by its length; *now* is when the
    level is that which the member states.
    Shape: bytes[slot]; classes[class][direction], receive first, and uplink[direction].
    """

    def __init__(self, member: Member, first: int, last: int, now: int) -> None:
        slots = np.arange(first, last, dtype=np.int64)
        years = (slots * SLOT_SECONDS - now) / _YEAR_SECONDS
        day, within = np.divmod(slots, SLOTS_A_DAY)
        shape = np.array(day_shape(member.busiest_hour))[within]
        week = np.array(WEEK)[[weekday(each) for each in range(len(WEEK))]][day % len(WEEK)]
        noise = _DAYS * _normal(member, "day", day) + _SLOTS * _normal(member, "slot", slots)
        noise += _HOURS * _hourly(member, slots)
        moved = member.level_bytes * shape * week * np.exp(member.growth * years + noise)
        share = np.clip(member.per_session - _LESS_PER_SESSION * years, 0.05, 0.95)
        received = _RECEIVED * np.exp(_RECEIVED_DIFFERS * _normal(member, "received", slots))
        self.classes = tuple(
            (_whole(moved * part * received), _whole(moved * part * (1.0 - received)))
            for part in (share, 1.0 - share)
        )
        rx, tx = (sum(each[way] for each in self.classes) for way in (0, 1))
        overhead = _OVERHEAD + _MORE_OVERHEAD * _uniform(member, "overhead", day)
        # Each byte passes twice: inside of a tunnel, and on its way from or to the internet.
        self.uplink = (rx + tx + _whole(rx * overhead), rx + tx + _whole(tx * overhead))


class _Run:
    """The grid points of one run, and what its totals and counts are there."""

    def __init__(self, member: Member, span: Span, start: int, stop: int, until: int) -> None:
        """Run from *start* to before *stop*; releases are asked for up to *until*."""
        self.start = start
        stop = min(stop, until + SLOT_SECONDS)
        first, last = start // SLOT_SECONDS, stop // SLOT_SECONDS
        moved = Moved(member, first, last, span.until)
        change = max(start, min(stop, span.slots_since))
        step = span.window_seconds
        self.at = np.concatenate(
            [
                np.arange(-(-start // step) * step, change, step),
                np.arange(-(-change // SLOT_SECONDS) * SLOT_SECONDS, stop, SLOT_SECONDS),
            ]
        )
        places = self.at // SLOT_SECONDS - first
        self.classes = [[_released(ways[way], places) for way in (0, 1)] for ways in moved.classes]
        self.uplink = [_released(each, places) for each in moved.uplink]
        # The counts as of each midnight, the one before the run included.
        self._first_day = start // DAY_SECONDS
        days = (np.arange(first, last) // SLOTS_A_DAY) - self._first_day
        self.counts = [
            _counts(each, days, member.capacity_bits_per_second) for each in moved.uplink
        ]

    def counted(self, way: int, part: slice) -> Integers:
        """Return the cumulative buckets at the grid points of *part*, counts[point, bucket]."""
        found: Integers = self.counts[way][self.at[part] // DAY_SECONDS - self._first_day]
        return found


class Past:
    """What *member* released up to *until*, run after run."""

    def __init__(self, member: Member, span: Span, until: int) -> None:
        """Count what there is of *span*, and as it goes on after it if *until* is later."""
        self._member = member
        self.series = series(member)
        self._runs = [
            _Run(member, span, start, stop, until) for start, stop in runs(member, span, until)
        ]

    @property
    def count(self) -> int:
        """How many releases there are."""
        return sum(len(run.at) for run in self._runs)

    def between(self, since: int, until: int) -> tuple[list[int], list[list[float]]]:
        """Return the grid points from *since* to before *until*, and the values at each."""
        times: list[int] = []
        rows: list[list[float]] = []
        for run in self._runs:
            part = slice(*np.searchsorted(run.at, (since, until)).tolist())
            if part.start < part.stop:
                times += run.at[part].tolist()
                rows += self._values(run, part).tolist()
        return times, rows

    def _values(self, run: _Run, part: slice) -> Floats:
        """Return the values of *run* in the order of the series."""
        tunnel = [sum(each[way][part] for each in run.classes) for way in (0, 1)]
        columns = [
            *(each[part] for each in run.uplink),
            *tunnel,
            *(each[way][part] for way in (0, 1) for each in run.classes),
            *(column for way in (0, 1) for column in run.counted(way, part).T),
            *(run.counted(way, part)[:, -1] for way in (0, 1)),
            self._member.capacity_bits_per_second,
            run.at[part],
            run.start,
            # No faults, and the version that runs.
            *(0, 0, 0, 1),
        ]
        values = np.empty((part.stop - part.start, len(self.series)))
        for number, column in enumerate(columns):
            values[:, number] = column
        return values


def series(member: Member) -> tuple[Series, ...]:
    """Return the series of a release of *member*, in schema order."""
    classes = tuple((name, Totals()) for name in CLASSES)
    release = Release(0, 0, member.capacity_bits_per_second, Totals(), Totals(), classes)
    return tuple(each for each, _ in series_of(release))


def runs(member: Member, span: Span, until: int) -> list[tuple[int, int]]:
    """Return from when to before when *member* ran, run by run.

    One that is live began another run when the history ends: that of the lab.
    """
    start, found = span.since, []
    if member.came_days_ago is not None:
        start = max(start, span.midnight(member.came_days_ago))
    for outage in sorted(member.outages, key=_days_ago, reverse=True):
        stop = span.midnight(outage.days_ago) + outage.hour * _HOUR_SECONDS
        if stop > start:
            found.append((start, stop))
            start = stop + outage.hours * _HOUR_SECONDS
    end = span.until if member.is_live else until + SLOT_SECONDS
    return [*found, (start, end)]


def _days_ago(outage: Outage) -> int:
    return outage.days_ago


def _released(moved: Integers, places: Integers) -> Integers:
    """Return the totals before each of *places*, as they are published: in whole MiB."""
    totals = np.concatenate([[0], np.cumsum(moved)])[places]
    floored: Integers = totals // ROUNDING_BYTES * ROUNDING_BYTES
    return floored


def _counts(moved: Integers, days: Integers, capacity_bits_per_second: int) -> Integers:
    """Return how many slots were in each bucket or one before it, up to each midnight.

    Shape: counts[day, bucket]; that of the first day is 0, since its slots come after it begins.
    """
    buckets = len(UTILISATION_BOUNDS)
    # Bits and hundredths on one side, and whole numbers on both.
    bounds = np.array(UTILISATION_PERCENTS) * capacity_bits_per_second * SLOT_SECONDS
    found = np.searchsorted(bounds, moved * 8 * 100, side="left")
    count = int(days[-1]) + 2 if len(days) else 1
    flat = np.bincount((days + 1) * buckets + found, minlength=count * buckets)
    counts: Integers = flat.reshape(count, buckets).cumsum(axis=0).cumsum(axis=1)
    return counts


def _whole(values: Floats) -> Integers:
    return np.rint(values).astype(np.int64)


def _hourly(member: Member, slots: Integers) -> Floats:
    """Return noise that goes from hour to hour without a jump."""
    hours, within = np.divmod(slots, _SLOTS_AN_HOUR)
    part = within / _SLOTS_AN_HOUR
    mixed: Floats = (1.0 - part) * _normal(member, "hour", hours)
    return mixed + part * _normal(member, "hour", hours + 1)


def _normal(member: Member, what: str, numbers: Integers) -> Floats:
    """Return for each of *numbers* about what a normal distribution gives; at most 3.5."""
    bits = _hashed(member, what, numbers)
    # Four of 16 bits each add up to something bell-shaped, of variance 4/12.
    parts: Sequence[npt.NDArray[np.uint64]] = [
        (bits >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)
    ]
    total: Floats = np.sum(parts, axis=0).astype(np.float64)
    normal: Floats = (total / (1 << 16) - 2.0) * math.sqrt(3.0)
    return normal


def _uniform(member: Member, what: str, numbers: Integers) -> Floats:
    return _hashed(member, what, numbers).astype(np.float64) / 2.0**64


def _hashed(member: Member, what: str, numbers: Integers) -> npt.NDArray[np.uint64]:
    digest = hashlib.blake2b(f"{member.name} {what}".encode(), digest_size=8).digest()
    key = np.uint64(int.from_bytes(digest, "big"))
    bits: npt.NDArray[np.uint64] = key + numbers.astype(np.uint64) * _GOLDEN
    for shift, factor in _MIXERS:
        bits = (bits ^ (bits >> shift)) * factor
    return bits ^ (bits >> _LAST_SHIFT)

"""Uplinks, locations and the fleet as daily series: sums of what their nodes say of each day.

A node counts from its first whole day to its last. A day of a node is known if there were nearly as
many releases as on the days around it. A day of a sum is known if the nodes that are known move
nearly all of what those that are there usually do; the rest is then taken to have moved in
proportion. What a node's release rule held back came later, and is spread evenly over the days it
was held (held.py); what it holds back still is not known.

The 95th percentile of a location or of the fleet is here the sum of its nodes' own: what its ports
have to carry. Where nodes peak together, as traffic does, that of the summed traffic is no more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from trafficd.planning.daily import DailySeries, Floats
from trafficd.planning.held import spread_held
from trafficd.planning.node_history import NodeDays
from trafficd.planning.percentile import Method, from_histogram
from trafficd.planning.period import DAY_SECONDS

# Of so many days is the percentile of now.
RECENT_DAYS = 30
# Of the releases that are usual on the days around it, so many make a day known. Windows change.
_ENOUGH_RELEASES, _DAYS_AROUND = 0.9, 3
# Of what usually moves, so much has to be known for a sum.
_ENOUGH_TRAFFIC = 0.95
# A node that has not been heard of for so many days has left.
_DAYS_TO_HAVE_LEFT = 7
_DAYS_OF_NEWS = 90
# So many days of a year are said to be unknown.
_DAYS_OF_A_GAP, _DAYS_OF_YEAR = 7, 365
_BITS = 8


class Level(StrEnum):
    """What a place is."""

    UPLINK = "uplink"
    LOCATION = "location"
    FLEET = "fleet"


class Measure(StrEnum):
    """What is planned with, of each day: the busier direction's."""

    P95 = "p95"
    MEAN = "mean"


@dataclass(frozen=True)
class Place:
    """An uplink, a location or the fleet.

    Shape: the series have the same days; *nodes* are those that are there on the last day, by name,
    none where all have left.
    Units: bits per second; *capacity* is that of the last day, 0 where none is stated; *recent_p95*
    is of the slots of the last 30 days, the nodes' own added up; None where none states a capacity.
    *last_release_at* is UTC seconds, the newest of all.
    """

    level: Level
    name: str
    location: str
    nodes: tuple[str, ...]
    p95: DailySeries
    mean: DailySeries
    capacity: float
    recent_p95: float | None
    last_release_at: int
    notes: tuple[str, ...]

    def series(self, measure: Measure) -> DailySeries:
        """Return the series of *measure*."""
        return self.p95 if measure is Measure.P95 else self.mean

    @property
    def lack(self) -> str:
        """Why nothing can be told of what is to come, whatever its days are; empty if it can."""
        if self.nodes:
            return ""
        known = np.flatnonzero(~np.isnan(self.mean.values))
        since = f" since {self.mean.day(int(known[-1]))}" if len(known) else ""
        return f"nothing has been heard from here{since}"


@dataclass(frozen=True)
class _Known:
    """A node over the days of all.

    Shape: mean[direction, day] and p95[direction, day], NaN where not known; *is_there* by day.
    """

    node: NodeDays
    mean: Floats
    p95: Floats
    capacity: float
    is_there: npt.NDArray[np.bool_]


def places(nodes: Sequence[NodeDays], until: date) -> list[Place]:
    """Return the fleet, then its locations and its uplinks by name, as known at the end of *until*.

    Shape: nothing without a node that has a day.
    """
    with_days = sorted((each for each in nodes if each.days), key=lambda each: each.node)
    if not with_days:
        return []
    first = min(each.first for each in with_days)
    count = (until - first).days + 1
    fleet = _Sum(Level.FLEET, "fleet", "", first, count)
    locations: dict[str, _Sum] = {}
    uplinks = []
    # One after the other: a thousand nodes over years take no room side by side.
    for node in with_days:
        known = _known(node, first, count)
        uplink = _Sum(Level.UPLINK, node.node, node.location, first, count)
        location = locations.setdefault(
            node.location, _Sum(Level.LOCATION, node.location, node.location, first, count)
        )
        for each in (fleet, location, uplink):
            each.add(known)
        uplinks.append(uplink.place())
    return [fleet.place(), *(each.place() for _, each in sorted(locations.items())), *uplinks]


class _Sum:
    """A place that is added up, node by node."""

    def __init__(self, level: Level, name: str, location: str, first: date, count: int) -> None:
        self._level = level
        self._name = name
        self._location = location
        self._first = first
        self._count = count
        self._rates = {Measure.MEAN: _Rates(count), Measure.P95: _Rates(count)}
        self._members: list[_Member] = []
        self._recent = _Recent(first + timedelta(days=count - 1))

    def add(self, known: _Known) -> None:
        """Take a node."""
        self._rates[Measure.MEAN].add(known.mean, known.is_there)
        self._rates[Measure.P95].add(known.p95, known.is_there)
        there = np.flatnonzero(known.is_there)
        come, gone = (int(there[0]), int(there[-1])) if len(there) else (self._count, -1)
        self._members.append(_Member(known.node, come, gone, known.capacity))
        if gone == self._count - 1:
            self._recent.add(known.node)

    def place(self) -> Place:
        """Return the place."""
        here = [each for each in self._members if each.gone == self._count - 1]
        mean = self._rates[Measure.MEAN].busier()
        return Place(
            self._level,
            self._name,
            self._location,
            tuple(each.node.node for each in here),
            DailySeries(self._name, self._first, self._rates[Measure.P95].busier()),
            DailySeries(self._name, self._first, mean),
            sum(each.capacity for each in here),
            self._recent.p95,
            max(each.node.last_release_at for each in self._members),
            (*self._notes(here), *(_of_unknown_days(mean) if here else ())),
        )

    def _notes(self, here: Sequence["_Member"]) -> Iterator[str]:
        """Yield what a reader has to know of how the sums came about."""
        unstated = sum(1 for each in here if not each.capacity)
        if self._level is Level.UPLINK:
            if unstated:
                yield "no capacity is stated, so neither percentiles nor utilisation can be told"
            return
        if unstated:
            noun = "uplink of those here states" if unstated == 1 else "uplinks of those here state"
            yield f"{unstated} {noun} no capacity"
        last = max(each.gone for each in self._members)
        # A fleet that is younger has come as a whole.
        lately = self._count - _DAYS_OF_NEWS
        came = [each.node.node for each in self._members if 0 < lately <= each.come < self._count]
        left = [each.node.node for each in self._members if each.gone < last]
        if came:
            yield f"came in the last {_DAYS_OF_NEWS} days: {', '.join(came)}"
        if left:
            yield f"not here any more: {', '.join(left)}"


@dataclass(frozen=True, slots=True)
class _Member:
    """A node of a place, and the days from which and up to which it was there."""

    node: NodeDays
    come: int
    gone: int
    capacity: float


class _Rates:
    """Sums of rates in both directions, and how much of what usually moves is in them."""

    def __init__(self, count: int) -> None:
        self._total = np.zeros((2, count))
        self._there = np.zeros(count)
        self._known = np.zeros(count)
        self._is_any = np.zeros(count, dtype=bool)

    def add(self, rates: Floats, is_there: npt.NDArray[np.bool_]) -> None:
        """Take the rates of a node, NaN where they are not known.

        Shape: rates[direction, day], is_there[day].
        """
        is_known = is_there & ~np.isnan(rates).any(axis=0)
        usual = _usual(rates.max(axis=0))
        self._there += is_there * usual
        self._known += is_known * usual
        self._total += np.where(is_known, rates, 0.0)
        self._is_any |= is_known

    def busier(self) -> Floats:
        """Return the sum in the direction that is busier on each day; NaN where it is not known."""
        total = self._total.max(axis=0)
        # What moves nothing usually has no proportion.
        has_share = self._known > 0
        share = np.where(has_share, self._there / np.where(has_share, self._known, 1.0), 1.0)
        is_enough = self._is_any & (self._known >= _ENOUGH_TRAFFIC * self._there)
        scaled: Floats = np.where(is_enough, total * share, np.nan)
        return scaled


class _Recent:
    """The nodes' own percentiles of the last days, added up by direction."""

    def __init__(self, last: date) -> None:
        self._last = last
        self._begin = last - timedelta(days=RECENT_DAYS - 1)
        self._sums = [0.0, 0.0]
        self._is_known = False

    @property
    def p95(self) -> float | None:
        """That of the busier direction; None where no node has one."""
        return max(self._sums) if self._is_known else None

    def add(self, node: NodeDays) -> None:
        """Take a node."""
        slots = node.slots
        begin = max(0, (self._begin - slots.first).days)
        days = slice(begin, max(begin, (self._last - slots.first).days + 1))
        # The slots' days are the last of the node's.
        held = slice((slots.first - node.first).days, None)
        capacity, uplink = node.capacity[held][days], node.uplink.cut(held).cut(days)
        pairs = ((slots.receive[days], uplink.receive), (slots.transmit[days], uplink.transmit))
        for direction, (counts, moved) in enumerate(pairs):
            try:
                estimate = from_histogram(counts[: len(capacity)], capacity, Method.CEIL, moved)
            except IndexError:
                continue
            self._is_known = True
            self._sums[direction] += estimate.value


def _known(node: NodeDays, first: date, count: int) -> _Known:
    begin = (node.first - first).days
    is_whole = _is_whole(node.releases)
    mean = np.full((2, count), np.nan)
    p95 = np.full((2, count), np.nan)
    days = slice(begin, begin + node.days)
    is_open = _is_open(node)
    for direction, moved in enumerate((node.uplink.receive, node.uplink.transmit)):
        known = np.where(is_whole & ~is_open, moved, np.nan)
        rates = spread_held(known) * (_BITS / DAY_SECONDS)
        mean[direction, days] = rates
    for direction, rates in enumerate((node.p95.receive, node.p95.transmit)):
        p95[direction, days] = np.where(is_whole, rates, np.nan)
    if node.days == 1 and node.releases[0] < _ENOUGH_RELEASES * DAY_SECONDS / node.window_seconds:
        # Its first day, of which no day around it says that it is not whole.
        mean[:], p95[:] = np.nan, np.nan
    whole = np.flatnonzero(is_whole) + begin
    is_there = np.zeros(count, dtype=bool)
    if len(whole):
        last = int(whole[-1])
        # Of one that was there a moment ago, the days to come are missing and not over.
        end = count if count - last <= _DAYS_TO_HAVE_LEFT else last + 1
        is_there[whole[0] : end] = True
    return _Known(node, mean, p95, _last_known(node.capacity), is_there)


def _is_whole(releases: Floats) -> npt.NDArray[np.bool_]:
    """Return which days have nearly as many releases as the days around them."""
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(releases, _DAYS_AROUND, mode="reflect"), 2 * _DAYS_AROUND + 1
    )
    usual = np.median(around, axis=1)
    is_whole: npt.NDArray[np.bool_] = (releases > 0) & (releases >= _ENOUGH_RELEASES * usual)
    return is_whole


def _is_open(node: NodeDays) -> npt.NDArray[np.bool_]:
    """Return which days at the end have released nothing of themselves: it may be held back.

    Of a day on which nothing moved slots are counted all the same, unless they are held as well.
    """
    moved = node.uplink.receive + node.uplink.transmit
    counted = ~np.isnan(node.p95.receive + node.p95.transmit)
    is_told = np.flatnonzero((moved != 0) | counted | ~(node.capacity > 0))
    is_open = np.ones(node.days, dtype=bool)
    is_open[: is_told[-1] + 1 if len(is_told) else 0] = False
    return is_open


def _usual(rates: Floats) -> float:
    known = rates[~np.isnan(rates)]
    return float(np.median(known)) if len(known) else 0.0


def _of_unknown_days(mean: Floats) -> Iterator[str]:
    year = mean[-_DAYS_OF_YEAR:]
    known = np.flatnonzero(~np.isnan(year))
    unknown = int(np.count_nonzero(np.isnan(year[known[0] :]))) if len(known) else 0
    if unknown >= _DAYS_OF_A_GAP:
        yield f"nothing is known of {unknown} of the last {len(year) - int(known[0])} days"


def _last_known(capacity: Floats) -> float:
    known = capacity[~np.isnan(capacity)]
    return float(known[-1]) if len(known) else 0.0

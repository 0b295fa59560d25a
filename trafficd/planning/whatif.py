"""What would be if: load that is moved between locations, capacity that comes and goes, growth.

What a supposition changes is which part of each location's traffic another one carries, and what
capacity it has. A location's traffic as it would be is then a sum of parts of the histories that
there are, and everything else is said of it as of any place.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trafficd.errors import HistoryError
from trafficd.planning.daily import DailySeries
from trafficd.planning.document import WhatIf
from trafficd.planning.outlook import Outlook, Terms, ranked
from trafficd.planning.places import Level, Place
from trafficd.planning.wording import change, rate, some
from trafficd.units import BitRate

_YEAR_DAYS = 365
_LEAST_GROWTH, _MOST_GROWTH = -90.0, 1000.0
KINDS = ("growth", "add", "lose_node", "lose_location", "capacity", "move")


@dataclass
class _Supposed:
    """Locations and uplinks as they would be.

    Shape: *known* are the locations of whose traffic something is known; *parts* of whose traffic
    each location carries, by name and name; *uplinks* by name, those that are gone left out.
    """

    known: set[str]
    uplinks: dict[str, Place]
    capacity: dict[str, float]
    parts: dict[str, dict[str, float]]
    drift: float = 0.0
    words: list[str] = field(default_factory=list)

    def location_of(self, name: str) -> str:
        """Return *name* if it is a location that is there.

        Raises: HistoryError with those there are, if not.
        """
        if name not in self.capacity:
            raise HistoryError(f"{name!r}: no such location; there are {some(self.capacity)}")
        return name

    def load_of(self, name: str) -> dict[str, float]:
        """Return whose traffic location *name* carries, and which part of it.

        Raises: HistoryError if nothing is known of some of it: as much as nothing it is not.
        """
        unknown = [
            each for each, part in self.parts[name].items() if part and each not in self.known
        ]
        if unknown:
            raise HistoryError(
                f"{name}: the p95 of the last days of {unknown[0]} is not known, so that nothing "
                "tells what others would carry of it"
            )
        return dict(self.parts[name])

    def uplink(self, name: str) -> Place:
        """Return the uplink of node *name*.

        Raises: HistoryError if there is none.
        """
        found = self.uplinks.get(name)
        if found is None:
            raise HistoryError(f"{name!r}: no such node; there are {some(self.uplinks)}")
        return found


def what_if(places: Sequence[Place], terms: Terms, supposed: Sequence[tuple[str, str]]) -> WhatIf:
    """Return the ranking of the locations of *places* before and after what is *supposed*.

    Shape: pairs of a kind and a value as text, in the order in which they come to pass.
    Raises: HistoryError with a sentence if one makes no sense.
    """
    locations = {each.name: each for each in places if each.level is Level.LOCATION}
    world = _Supposed(
        {name for name, each in locations.items() if each.recent_p95 is not None},
        # A node that has left carries nothing that could be moved.
        {each.name: each for each in places if each.level is Level.UPLINK and each.nodes},
        {name: each.capacity for name, each in locations.items()},
        {name: {name: 1.0} for name in locations},
    )
    for kind, value in supposed:
        apply = _APPLY.get(kind)
        if apply is None:
            raise HistoryError(f"{kind!r}: nothing that can be supposed; write {some(KINDS)}")
        apply(world, value.strip())
    before = [Outlook.of(each).summary(terms) for each in locations.values()]
    after = [
        Outlook.of(_mixed(locations, name, world)).summary(terms, drift=world.drift)
        for name in world.capacity
    ]
    return WhatIf(
        supposed=world.words,
        before=ranked(before, terms.order_at),
        after=ranked(after, terms.order_at),
    )


def _mixed(locations: Mapping[str, Place], name: str, world: _Supposed) -> Place:
    """Return location *name* with the traffic and the capacity that it would have."""
    own = locations[name]
    parts = {each: part for each, part in world.parts[name].items() if part} or {name: 0.0}
    members = tuple(sorted(each.name for each in world.uplinks.values() if each.location == name))
    recent = [locations[each].recent_p95 for each in parts]
    return replace(
        own,
        nodes=members,
        p95=_sum_of_parts(name, [(locations[each].p95, part) for each, part in parts.items()]),
        mean=_sum_of_parts(name, [(locations[each].mean, part) for each, part in parts.items()]),
        capacity=world.capacity[name],
        recent_p95=None
        if None in recent
        else sum(p95 * part for p95, part in zip(recent, parts.values(), strict=True) if p95),
    )


def _sum_of_parts(name: str, parts: Sequence[tuple[DailySeries, float]]) -> DailySeries:
    """Return the sum of parts of series over the same days.

    A day counts for what is known of it before a location began, and not where it lacks a day.
    """
    first = parts[0][0].first
    total = np.zeros(len(parts[0][0].values))
    is_known = np.zeros(len(total), dtype=bool)
    for series, part in parts:
        known = ~np.isnan(series.values)
        begin = int(np.argmax(known)) if known.any() else len(known)
        total[known] += part * series.values[known]
        total[begin:][~known[begin:]] = np.nan
        is_known |= known
    return DailySeries(name, first, np.where(is_known, total, np.nan))


# ---- what can be supposed ----


def _grow(world: _Supposed, value: str) -> None:
    percent = _number(value, "growth", "percent a year, like 20")
    if not _LEAST_GROWTH <= percent <= _MOST_GROWTH:
        raise HistoryError(
            f"growth {value}: from {_LEAST_GROWTH:.0f} to {_MOST_GROWTH:.0f} percent a year"
        )
    world.drift += math.log1p(percent / 100.0) / _YEAR_DAYS
    world.words.append(f"{change(percent / 100.0)} a year on top of what is expected")


def _add(world: _Supposed, value: str) -> None:
    location, capacity = _split(value, 2, "add", "LOCATION:CAPACITY, like fra:10Gbit")
    bits = _bits(capacity)
    world.capacity[world.location_of(location)] += bits
    world.words.append(f"another {rate(bits)} in {location}")


def _set_capacity(world: _Supposed, value: str) -> None:
    name, capacity = _split(value, 2, "capacity", "NODE:CAPACITY, like fra-1:20Gbit")
    uplink, bits = world.uplink(name), _bits(capacity)
    world.capacity[uplink.location] += bits - uplink.capacity
    world.uplinks[name] = replace(uplink, capacity=float(bits))
    world.words.append(f"{name} at {rate(bits)} instead of {rate(uplink.capacity or None)}")


def _lose_node(world: _Supposed, value: str) -> None:
    uplink = world.uplink(value)
    others = [
        each
        for each in world.uplinks.values()
        if each.location == uplink.location and each != uplink
    ]
    if not others:
        _lose_location(world, uplink.location)
        return
    del world.uplinks[value]
    world.capacity[uplink.location] -= uplink.capacity
    world.words.append(f"{value} is lost, and the others in {uplink.location} carry its load")


def _lose_location(world: _Supposed, value: str) -> None:
    lost = world.location_of(value)
    room = {name: bits for name, bits in world.capacity.items() if name != lost}
    if not room:
        raise HistoryError(f"{value}: without it there is no location left to carry the load")
    total = sum(room.values())
    if not total:
        raise HistoryError(f"{value}: no other location states a capacity to move its load to")
    load = world.load_of(lost)
    for name, bits in room.items():
        _move_part(world, name, bits / total, load)
    del world.parts[lost], world.capacity[lost]
    world.uplinks = {name: each for name, each in world.uplinks.items() if each.location != lost}
    world.words.append(f"{value} is lost, and the others carry its load by their capacity")


def _move(world: _Supposed, value: str) -> None:
    origin, target, percent = _split(value, 3, "move", "FROM:TO:PERCENT, like fra:ams:25")
    part = _number(percent, "move", "a percentage, like 25") / 100.0
    if not 0.0 < part <= 1.0:
        raise HistoryError(f"move {value}: above 0, and at most 100 percent")
    world.location_of(origin), world.location_of(target)
    if origin == target:
        raise HistoryError(f"move {value}: from a location to itself moves nothing")
    moved = world.load_of(origin)
    _move_part(world, target, part, moved)
    world.parts[origin] = {name: each * (1.0 - part) for name, each in moved.items()}
    world.words.append(f"{100.0 * part:.4g} % of the traffic of {origin} moved to {target}")


def _move_part(world: _Supposed, target: str, part: float, parts: Mapping[str, float]) -> None:
    carried = world.parts[target]
    for name, each in parts.items():
        carried[name] = carried.get(name, 0.0) + part * each


_APPLY = {
    "growth": _grow,
    "add": _add,
    "lose_node": _lose_node,
    "lose_location": _lose_location,
    "capacity": _set_capacity,
    "move": _move,
}


def _split(value: str, count: int, kind: str, form: str) -> list[str]:
    words = [each.strip() for each in value.split(":")]
    if len(words) != count or not all(words):
        raise HistoryError(f"{kind} {value!r}: write {form}")
    return words


def _number(value: str, kind: str, form: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise HistoryError(f"{kind} {value!r}: write {form}")
    return number


def _bits(value: str) -> int:
    try:
        return BitRate.parse(value)
    except ValueError as error:
        raise HistoryError(f"capacity {value!r}: {error}") from error

"""Releases as PromQL tells them.

A release of the grid point G is pushed with the time G, and is what a scrape shows from G on until
the next. Either way it is the last value in the window from G on, and the release timestamp is G
there; so both are asked for in the same way: by last_over_time, one second before the next grid
point. What increase() says is extrapolated, and is not used.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from trafficd import schema
from trafficd.errors import HistoryError, UnknownSeriesError
from trafficd.planning.daily import Floats
from trafficd.planning.day_table import DAY_SECONDS
from trafficd.planning.grid import SEEN_SECONDS, end_of_last, window_of
from trafficd.planning.promql import Line, Promql
from trafficd.schema import MINIMUM_WINDOW_SECONDS
from trafficd.series import Series, known_series

RELEASED = Series(schema.RELEASE_TIMESTAMP.sample_name)
STARTED = Series(schema.START_TIMESTAMP.sample_name)

# With the two days that a query looks back, no more than the month that some engines answer for.
_DAYS_AT_ONCE = 28
_POINTS_AT_ONCE = 720
_NODES_AT_ONCE = 50
_OWN_LABELS = ("class", "direction", "le")
T = TypeVar("T")


@dataclass
class Node:
    """A node by its releases.

    Shape: *last_at* has the last one of each day with any, by the end of the day.
    """

    name: str
    location: str
    last_at: dict[int, int] = field(default_factory=dict)

    @property
    def newest_at(self) -> int:
        """The last release that was asked for."""
        return self.last_at[max(self.last_at)]


@dataclass
class Table:
    """What a node's series were at some grid points.

    Shape: values[series][point], NaN where there is none; several[point] is whether a series has
    two values, one with other labels of the scrape than the other.
    """

    points: range
    values: dict[Series, Floats] = field(default_factory=dict)
    several: set[int] = field(default_factory=set)

    def of(self, series: Series) -> Floats:
        """Return the values of a series."""
        found = self.values.get(series)
        return np.full(len(self.points), np.nan) if found is None else found

    def take(self, series: Series, places: Sequence[int], values: Floats) -> None:
        """Take values; of two, the one that has moved on."""
        there = self.values.setdefault(series, self.of(series))
        for place in places:
            if not np.isnan(there[place]):
                self.several.add(place)
        there[list(places)] = np.fmax(there[list(places)], values)

    def join(self, other: "Table") -> None:
        """Take the other series of *other*."""
        self.values.update(other.values)
        self.several |= other.several

    def moves_on(self) -> bool:
        """Return whether a release is from after its grid point, as where windows were shorter."""
        return bool((self.of(RELEASED) > np.array(self.points)).any())

    def releases(self) -> list[tuple[int, dict[Series, float]]]:
        """Return the releases of the grid points, by time, those that there are."""
        there = np.flatnonzero(self.of(RELEASED) == np.array(self.points)).tolist()
        return [
            (
                self.points[place],
                {
                    series: float(values[place])
                    for series, values in self.values.items()
                    if not np.isnan(values[place])
                },
            )
            for place in there
        ]

    def refuse_several(self, node: str) -> None:
        """Refuse what is kept twice; in a single window one may end where the other begins.

        Raises: HistoryError with the node's name.
        """
        if len(self.several) > 1:
            raise HistoryError(
                f"node {node}: two series of the same name: it is scraped or pushed twice, or two"
                " nodes have that name; let the engine keep one of them, or deduplicate"
            )


class Releases:
    """Asks an engine for the releases it keeps.

    All methods raise HistoryError if they cannot be had.
    """

    def __init__(self, promql: Promql) -> None:
        self._promql = promql

    async def nodes(self, since: int, until: int) -> dict[str, Node]:
        """Return the nodes with a release after *since* and up to *until*.

        Days are counted back from *until*.
        """
        days = -(-(until - since) // DAY_SECONDS)
        ends = [until - back * DAY_SECONDS for back in reversed(range(days))]
        query = f"last_over_time({RELEASED.name}[{DAY_SECONDS}s])"
        # The shortest window is over before the next release of any node.
        late = MINIMUM_WINDOW_SECONDS - 1
        nodes: dict[str, Node] = {}
        for some in pieces(ends, _DAYS_AT_ONCE):
            lines = await self._promql.at_each(query, some[0] + late, some[-1] + late, DAY_SECONDS)
            for line in lines:
                name = _label(line, "node")
                location, node = _label(line, "location"), nodes.setdefault(name, Node(name, ""))
                for at, released in zip((line.at - late).tolist(), line.values, strict=True):
                    if max(since, at - DAY_SECONDS) < released <= at:
                        if not node.last_at or released >= node.newest_at:
                            # Of one that moved, where it is now.
                            node.location = location
                        node.last_at[at] = max(int(released), node.last_at.get(at, 0))
        return {name: node for name, node in nodes.items() if node.last_at}

    async def newest(self) -> dict[str, int]:
        """Return the newest release of every node that had one in the last two days."""
        lines = await self._promql.now(f"last_over_time({RELEASED.name}[{SEEN_SECONDS}s])")
        found: dict[str, int] = {}
        for line in lines:
            name = _label(line, "node")
            found[name] = max(found.get(name, 0), *line.values.astype(np.int64).tolist())
        return found

    async def windows_of(self, nodes: Mapping[str, Node], until: int) -> dict[str, int]:
        """Return the window of each node, as its last releases tell it."""
        by_end: dict[int, list[str]] = {}
        for node in nodes.values():
            by_end.setdefault(end_of_last(node.newest_at, until), []).append(node.name)
        shortest = MINIMUM_WINDOW_SECONDS
        found = {}
        for end, names in by_end.items():
            begin = end - SEEN_SECONDS
            for some in pieces(sorted(names), _NODES_AT_ONCE):
                points = range(begin + shortest, end + 1, shortest)
                seen = await self.at((RELEASED.name,), some, points, window=shortest)
                for name in some:
                    at = seen[name].of(RELEASED)
                    times = np.unique(at[(at > begin) & (at <= end)]).astype(np.int64)
                    if (times % shortest).any():
                        raise HistoryError(f"node {name}: releases off the grid of 5 minutes")
                    found[name] = window_of(times.tolist() or [nodes[name].newest_at])
        return found

    async def at(
        self,
        metrics: Iterable[str],
        nodes: Sequence[str],
        points: range,
        *,
        window: int,
        within: int | None = None,
    ) -> dict[str, Table]:
        """Return for each of *nodes* what series were at each of *points*.

        Units: *within* is how old a value may be when the window of a point is over; no older than
        that window unless it is given.
        """
        found = {name: Table(points) for name in nodes}
        selected = f'{{__name__=~"{"|".join(metrics)}",{among(nodes)}}}'
        query = f"last_over_time({selected}[{within or window}s])"
        late = window - 1
        at_once = _DAYS_AT_ONCE if points.step >= DAY_SECONDS else _POINTS_AT_ONCE
        for some in pieces(points, at_once):
            lines = await self._promql.at_each(query, some[0] + late, some[-1] + late, points.step)
            for line in lines:
                name = _label(line, "node")
                if name not in found:
                    raise HistoryError(f"node {name[:64]!r}: was not asked for")
                places = (line.at - late - points[0]) // points.step
                found[name].take(_series(line), places.tolist(), line.values)
        return found

    async def each_day(self, query: str, ends: range, late: int) -> dict[str, Floats]:
        """Return what *query* says of nodes so long after the ends of days.

        Shape: a value a day by node, the highest where there are several; NaN where there is none.
        """
        found: dict[str, Floats] = {}
        for some in pieces(ends, _DAYS_AT_ONCE):
            lines = await self._promql.at_each(query, some[0] + late, some[-1] + late, ends.step)
            for line in lines:
                values = found.setdefault(_label(line, "node"), np.full(len(ends), np.nan))
                places = (line.at - late - ends[0]) // ends.step
                values[places] = np.fmax(values[places], line.values)
        return found


def batches(windows: Mapping[str, int]) -> Iterator[tuple[int, list[str]]]:
    """Yield nodes that are asked for at once, by their window."""
    for window in sorted(set(windows.values())):
        names = sorted(name for name, each in windows.items() if each == window)
        for some in pieces(names, _NODES_AT_ONCE):
            yield window, some


def pieces(some: "Sequence[T]", most: int) -> "Iterator[list[T]]":
    """Yield *some* in pieces of no more than *most*."""
    for begin in range(0, len(some), most):
        yield list(some[begin : begin + most])


def among(nodes: Iterable[str]) -> str:
    """Return what selects *nodes* in a query."""
    # Once for the expression, and once for the text that it is in.
    names = "|".join(re.escape(name) for name in nodes).replace("\\", "\\\\").replace('"', '\\"')
    return f'node=~"{names}"'


def _label(line: Line, label: str) -> str:
    found = line.labels.get(label, "")
    if not found:
        shown = line.labels.get("instance", "")
        where = f" of {shown[:64]!r}" if shown else ""
        raise HistoryError(
            f"series{where} without the label {label}: a node that is scraped takes node and"
            " location from the labels of its target; write them into the scrape configuration"
        )
    return found


def _series(line: Line) -> Series:
    name = line.labels.get("__name__", "")
    own = {label: line.labels[label] for label in _OWN_LABELS if label in line.labels}
    try:
        return known_series(name, own)
    except UnknownSeriesError as error:
        raise HistoryError(f"a series that no node releases: {error}") from error

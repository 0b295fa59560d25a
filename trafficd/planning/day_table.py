"""A node's days, put together from rows of what its counters moved, whoever has these."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from trafficd import schema
from trafficd.planning.daily import Days, Floats
from trafficd.planning.node_history import SLOT_DAYS, Counts, NodeDays, Pair, Slots
from trafficd.planning.percentile import day_percentiles
from trafficd.schema import UTILISATION_BOUNDS, Direction, Metric
from trafficd.series import Series

DAY_SECONDS = 24 * 60 * 60
_EPOCH = date(1970, 1, 1)
_BUCKETS = len(UTILISATION_BOUNDS)
_MOST_SLOTS = np.iinfo(np.uint16).max
BUCKET = f"{schema.UPLINK_UTILISATION.name}_bucket"
CAPACITY = Series(schema.UPLINK_CAPACITY.sample_name)
UPLINK = (Series(schema.UPLINK_RECEIVE.sample_name), Series(schema.UPLINK_TRANSMIT.sample_name))
TUNNEL = (Series(schema.TUNNEL_RECEIVE.sample_name), Series(schema.TUNNEL_TRANSMIT.sample_name))


def number_of(day: date) -> int:
    """Return the number of a UTC day."""
    return (day - _EPOCH).days


def day_numbered(number: int) -> date:
    """Return the UTC day of that number."""
    return _EPOCH + timedelta(days=number)


class Columns:
    """Where counters stand in rows that have a value for each of some series."""

    def __init__(self, series: Sequence[Series]) -> None:
        self._places = {each: place for place, each in enumerate(series)}
        names = {
            value for each in series for label, value in each.labels if label == "class"
        }  # fmt: skip
        self.classes = sorted(names)

    def pair(self, values: Floats, series: tuple[Series, Series]) -> Pair:
        """Return the columns of two series; NaN where there is none."""
        return Pair(self.column(values, series[0]), self.column(values, series[1]))

    def of_class(self, values: Floats, name: str) -> Pair:
        """Return the columns of a class."""
        return self.pair(
            values, (_classed(schema.CLASS_RECEIVE, name), _classed(schema.CLASS_TRANSMIT, name))
        )

    def slots(self, values: Floats, direction: Direction) -> Counts:
        """Return how many slots are in which bucket."""
        way = ("direction", str(direction))
        up_to = np.zeros((len(values), _BUCKETS + 1))
        for number, bound in enumerate(UTILISATION_BOUNDS):
            column = self.column(values, Series(BUCKET, (way, ("le", bound))))
            up_to[:, number + 1] = np.nan_to_num(column, nan=0.0)
        inside = np.clip(np.diff(up_to, axis=1), 0, _MOST_SLOTS)
        return inside.astype(np.uint16)

    def column(self, values: Floats, series: Series) -> Floats:
        """Return the column of a series; NaN where there is none."""
        place = self._places.get(series)
        return np.full(len(values), np.nan) if place is None else values[:, place]


class DayTable:
    """The days of one node, as far as they are put in."""

    def __init__(self, first: int, last: int) -> None:
        """Have room for the days numbered *first* to *last*."""
        self._first = first
        self._count = last - first + 1
        self._releases = np.zeros(self._count)
        self._capacity = self._unknown()
        self._uplink, self._tunnel = self._pair(), self._pair()
        self._p95 = self._pair()
        self._classes: dict[str, Pair] = {}
        self._slots = tuple(np.zeros((self._count, _BUCKETS), dtype=np.uint16) for _ in Direction)

    def take(self, known: NodeDays) -> None:
        """Put in days as they were put together before."""
        begin = number_of(known.first) - self._first
        part = slice(begin, begin + known.days)
        self._releases[part] = known.releases
        self._capacity[part] = known.capacity
        _put(self._uplink, part, known.uplink)
        _put(self._tunnel, part, known.tunnel)
        _put(self._p95, part, known.p95)
        for name, pair in known.classes.items():
            _put(self._classes.setdefault(name, self._pair()), part, pair)
        begin = number_of(known.slots.first) - self._first
        for table, counts in zip(
            self._slots, (known.slots.receive, known.slots.transmit), strict=True
        ):
            table[begin : begin + len(counts)] = counts

    def put(
        self, days: Days, releases: Floats, capacity: Floats, columns: Columns, moved: Floats
    ) -> None:
        """Put in what the counters moved on some days.

        Shape: moved[day, column]; *days* are their numbers. NaN where a day lacks a counter, or a
        capacity.
        """
        rows = days - self._first
        self._releases[rows] = releases
        stated = np.nan_to_num(capacity, nan=0.0)
        self._capacity[rows] = stated
        uplink = columns.pair(moved, UPLINK)
        _put(self._uplink, rows, uplink)
        _put(self._tunnel, rows, columns.pair(moved, TUNNEL))
        for pair in self._classes.values():
            pair.receive[rows] = pair.transmit[rows] = np.nan
        for name in columns.classes:
            pair = columns.of_class(moved, name)
            _put(self._classes.setdefault(name, self._pair()), rows, pair)
        ways = (Direction.RECEIVE, Direction.TRANSMIT)
        counts = [columns.slots(moved, way) for way in ways]
        for table, found in zip(self._slots, counts, strict=True):
            table[rows] = found
        p95 = (
            day_percentiles(each, stated, carried)
            for each, carried in zip(counts, (uplink.receive, uplink.transmit), strict=True)
        )
        _put(self._p95, rows, Pair(*p95))

    def node_days(
        self,
        node: str,
        location: str,
        *,
        last_release_at: int,
        window_seconds: int = 0,
        is_active: bool = True,
    ) -> NodeDays | None:
        """Return the days from the first to the last with a release; None if there is none."""
        known = np.flatnonzero(self._releases > 0)
        if not len(known):
            return None
        begin, end = int(known[0]), int(known[-1]) + 1
        part = slice(begin, end)
        slots_begin = max(begin, end - SLOT_DAYS)
        receive, transmit = (table[slots_begin:end].copy() for table in self._slots)
        classes = {name: self._classes[name].cut(part) for name in sorted(self._classes)}
        return NodeDays(
            node,
            location,
            day_numbered(self._first + begin),
            window_seconds,
            self._releases[part],
            self._uplink.cut(part),
            self._tunnel.cut(part),
            # A class that it had on none of these days is none of it.
            {name: pair for name, pair in classes.items() if not _is_unknown(pair)},
            self._capacity[part],
            self._p95.cut(part),
            Slots(day_numbered(self._first + slots_begin), receive, transmit),
            last_release_at,
            is_active,
        )

    def _unknown(self) -> Floats:
        return np.full(self._count, np.nan)

    def _pair(self) -> Pair:
        return Pair(self._unknown(), self._unknown())


def _classed(metric: Metric, name: str) -> Series:
    return Series(metric.sample_name, (("class", name),))


def _put(pair: Pair, rows: slice | npt.NDArray[np.int64], values: Pair) -> None:
    pair.receive[rows] = values.receive
    pair.transmit[rows] = values.transmit


def _is_unknown(pair: Pair) -> bool:
    return bool(np.isnan(pair.receive).all() and np.isnan(pair.transmit).all())

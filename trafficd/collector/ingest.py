"""What a node may say: section by section, all of a message or nothing of it.

A message is laid out like the one before, nearly always, so the layouts of messages that were read
in full are kept: a message that fits one, byte for byte but for values and time, is known to say
the same series of the same node, and only values and time are looked at.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple, TypeVar

from trafficd.collector.slices import MOST_SERIES, Node, Slice
from trafficd.errors import MessageRefusedError, Refused, UnknownSeriesError
from trafficd.schema import MINIMUM_WINDOW_SECONDS, MOST_CLASSES
from trafficd.series import Series, known_series, place
from trafficd.wire.messages import Point, read_message
from trafficd.wire.remote_write import Layout, Protocol

# Of any node's clock before ours.
AHEAD_SECONDS = 10 * 60
# A layout is some kilobytes, and nodes with the same classes share one.
_MOST_LAYOUTS = 256
# Which series a message holds in which order, and of nodes with names how long.
_Key = tuple[Protocol, str, int, tuple[Series, ...]]
# What of that is seen without reading it, and how long it is.
_Shape = tuple[Protocol, str, int, int]


class _Order:
    """The schema order of series that came in another."""

    def __init__(self, series: tuple[Series, ...]) -> None:
        places = sorted(range(len(series)), key=lambda number: place(series[number]))
        self.series = tuple(series[number] for number in places)
        self._is_sorted = self.series == series
        self._pick = itemgetter(*places, *places[:1])

    def sorted(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Return *values* in the order of ``series``."""
        # One more than asked for, since a single place would not be picked as a tuple.
        return values if self._is_sorted else self._pick(values)[:-1]


class _Reading(NamedTuple):
    """How messages are read that are laid out alike."""

    layout: Layout
    order: _Order


class Ingest:
    """Reads messages, and remembers how they were laid out, and never what they said."""

    def __init__(self) -> None:
        self._readings: OrderedDict[_Key, _Reading] = OrderedDict()
        # The newest of each shape, and of each node.
        self._by_shape: OrderedDict[_Shape, _Reading] = OrderedDict()
        self._by_node: dict[tuple[int, Protocol], tuple[_Shape, _Reading]] = {}

    def read(self, node: Node, message: bytes, protocol: Protocol, now: float) -> list[Slice]:
        """Return what *node* says in *message*, by time.

        Shape: no two slices have the same time; an empty message has none.
        Raises: MessageRefusedError with the reason, for a person.
        """
        name = node.name.encode()
        shape = (protocol, node.location, len(name), len(message))
        own_shape, own = self._by_node.get((node.number, protocol), (None, None))
        # As it was the last time, or as it was of another node whose name is as long.
        for reading in (own if own_shape == shape else None, self._by_shape.get(shape)):
            if reading is None:
                continue
            found = reading.layout.unpack(name, message)
            if found is None:
                continue
            if reading is not own:
                self._by_node[node.number, protocol] = (shape, reading)
            time, values = found
            at = _grid_time(time, now)
            _refuse_values(values, reading.layout.series)
            return [Slice(at, reading.order.series, reading.order.sorted(values))]
        return self._read_all(node, message, shape, now)

    def _read_all(self, node: Node, message: bytes, shape: _Shape, now: float) -> list[Slice]:
        """Return what *message* says that is not known by its layout."""
        protocol = shape[0]
        points = read_message(message, protocol)
        if not points:
            _refuse_other_version(message, protocol)
        slices = _slices(node, points, now)
        if len(slices) != 1 or len(points) != len(slices[0].series):
            return slices
        series = tuple(_series(node, point) for point in points)
        key = (protocol, node.location, len(node.name), series)
        reading = self._readings.get(key)
        if reading is None:
            layout = Layout(node.name, node.location, series, protocol)
            reading = _remember(self._readings, key, _Reading(layout, _Order(series)))
        self._readings.move_to_end(key)
        # It may be written in another way than ours, with fields in another order.
        if reading.layout.unpack(node.name.encode(), message) is not None:
            _remember(self._by_shape, shape, reading)
            self._by_node[node.number, protocol] = (shape, reading)
        # The same tuple for all nodes that say the same series: they are kept by the thousand.
        return [replace(slices[0], series=reading.order.series)]


_K = TypeVar("_K")


def _remember(known: OrderedDict[_K, _Reading], key: _K, reading: _Reading) -> _Reading:
    """Keep *reading*, and let the oldest go where there are too many."""
    known[key] = reading
    known.move_to_end(key)
    if len(known) > _MOST_LAYOUTS:
        known.popitem(last=False)
    return reading


def _refuse_other_version(message: bytes, protocol: Protocol) -> None:
    """Refuse a message whose series only the other version sees: the versions share no field."""
    (other,) = set(Protocol) - {protocol}
    try:
        is_other = bool(read_message(message, other))
    except MessageRefusedError:
        is_other = True
    if is_other:
        raise MessageRefusedError(
            f"a message of remote write {other}, and its Content-Type is that of {protocol}",
            Refused.MALFORMED,
        )


def _slices(node: Node, points: Iterable[Point], now: float) -> list[Slice]:
    found: dict[int, dict[Series, float]] = {}
    for point in points:
        series = _series(node, point)
        # In the order in which a known layout is looked at: the reason is the same either way.
        at = _grid_time(point.time, now)
        _refuse_values((point.value,), (series,))
        values = found.setdefault(at, {})
        said = values.setdefault(series, point.value)
        if said != point.value:
            raise MessageRefusedError(
                f"{series}: both {said:.17g} and {point.value:.17g} for {at}", Refused.CONFLICT
            )
        if len(values) > MOST_SERIES:
            raise MessageRefusedError(f"more than {MOST_SERIES} series at one time", Refused.SERIES)
    slices = []
    for at, values in sorted(found.items()):
        classes = {each.labels for each in values if each.labels and each.labels[0][0] == "class"}
        if len(classes) > MOST_CLASSES:
            raise MessageRefusedError(
                f"{len(classes)} classes: at most {MOST_CLASSES}", Refused.SERIES
            )
        ordered = tuple(sorted(values, key=place))
        slices.append(Slice(at, ordered, tuple(values[each] for each in ordered)))
    return slices


def _series(node: Node, point: Point) -> Series:
    labels = dict(point.labels)
    name = labels.pop("__name__", "")
    if not name:
        raise MessageRefusedError("a series without a name, label __name__", Refused.SERIES)
    for label, own in (("node", node.name), ("location", node.location)):
        said = labels.pop(label, None)
        if said is None:
            raise MessageRefusedError(f"{name[:64]!r}: label {label}: missing", Refused.IDENTITY)
        if said != own:
            raise MessageRefusedError(
                f"{name[:64]!r}: label {label}: {said[:64]!r}: this credential is for {own}",
                Refused.IDENTITY,
            )
    try:
        return known_series(name, labels)
    except UnknownSeriesError as error:
        raise MessageRefusedError(str(error), Refused.SERIES) from error


def _refuse_values(values: tuple[float, ...], series: tuple[Series, ...]) -> None:
    """Refuse NaN, infinities, and what is below 0."""
    if all(map(math.isfinite, values)) and min(values) >= 0:
        return
    for each, value in zip(series, values, strict=True):
        if not math.isfinite(value) or value < 0:
            raise MessageRefusedError(
                f"{each}: {value}: not a finite number from 0 on", Refused.VALUE
            )


def _grid_time(time: int, now: float) -> int:
    """Return the grid point that *time* is, in seconds."""
    at, rest = divmod(time, 1000)
    if rest or at % MINIMUM_WINDOW_SECONDS or at <= 0:
        raise MessageRefusedError(
            f"{time} ms: off the grid: releases are of UTC instants that are multiples of"
            f" {MINIMUM_WINDOW_SECONDS // 60} minutes",
            Refused.TIME,
        )
    if at > now + AHEAD_SECONDS:
        raise MessageRefusedError(
            f"{time} ms: {at - now:.0f} s ahead of this clock; at most {AHEAD_SECONDS}",
            Refused.TIME,
        )
    return at

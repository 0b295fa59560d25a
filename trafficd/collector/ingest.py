"""What a node may say: section by section, all of a message or nothing of it.

A message is laid out like the one before, nearly always, so the layouts of messages that were read
in full are kept: a message that fits one, byte for byte but for values and time, is known to say
the same series of the same node, and only values and time are looked at.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from operator import itemgetter

from trafficd.collector.slices import Node, Slice
from trafficd.errors import MessageRefusedError, Refused, UnknownSeriesError
from trafficd.schema import MINIMUM_WINDOW_SECONDS, MOST_CLASSES
from trafficd.series import Series, known_series, place
from trafficd.wire.messages import Point, read_message
from trafficd.wire.remote_write import Layout, Protocol

# Of any node's clock before ours.
AHEAD_SECONDS = 10 * 60
# A layout is some kilobytes, and nodes with the same classes share one.
_MOST_LAYOUTS = 256
_Key = tuple[Protocol, str, int, tuple[Series, ...]]


class Ingest:
    """Reads messages, and remembers how they were laid out, and never what they said."""

    def __init__(self) -> None:
        self._layouts: OrderedDict[_Key, tuple[Layout, _Order]] = OrderedDict()
        self._last: dict[tuple[int, Protocol], tuple[str, bytes, Layout, _Order]] = {}

    def read(self, node: Node, message: bytes, protocol: Protocol, now: float) -> list[Slice]:
        """Return what *node* says in *message*, by time.

        Shape: no two slices have the same time; an empty message has none.
        Raises: MessageRefusedError with the reason, for a person.
        """
        if known := self._last.get((node.number, protocol)):
            location, name, layout, order = known
            found = layout.unpack(name, message) if location == node.location else None
            if found is not None:
                time, values = found
                at = _grid_time(time, now)
                _refuse_values(values, layout.series)
                return [Slice(at, order.series, order.sorted(values))]
        points = read_message(message, protocol)
        slices = _slices(node, points, now)
        if len(slices) == 1 and len(points) == len(slices[0].series):
            self._remember(node, protocol, message, points)
        return slices

    def _remember(
        self, node: Node, protocol: Protocol, message: bytes, points: Iterable[Point]
    ) -> None:
        """Keep the layout of a *message* that was read, if it is one that we would write."""
        series = tuple(_series(node, point) for point in points)
        key = (protocol, node.location, len(node.name), series)
        if key not in self._layouts:
            self._layouts[key] = (
                Layout(node.name, node.location, series, protocol),
                _Order(series),
            )
            if len(self._layouts) > _MOST_LAYOUTS:
                self._layouts.popitem(last=False)
        self._layouts.move_to_end(key)
        layout, order = self._layouts[key]
        name = node.name.encode()
        if layout.unpack(name, message) is not None:
            self._last[node.number, protocol] = (node.location, name, layout, order)


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


def _slices(node: Node, points: Iterable[Point], now: float) -> list[Slice]:
    found: dict[int, dict[Series, float]] = {}
    for point in points:
        series = _series(node, point)
        _refuse_values((point.value,), (series,))
        at = _grid_time(point.time, now)
        said = found.setdefault(at, {}).setdefault(series, point.value)
        if said != point.value:
            raise MessageRefusedError(
                f"{series}: both {said:.17g} and {point.value:.17g} for {at}", Refused.CONFLICT
            )
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

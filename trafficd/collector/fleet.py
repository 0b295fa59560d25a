"""What every node said last, and what each location has moved: the fleet as it stands in memory.

A node's totals begin at 0 with each run, so what a location has moved is the sum of its nodes'
totals and of those that their earlier runs ended with, which are carried. In the usual case, a
release that is newer than all of its node, it takes the place of the one before, and is added up
when somebody looks. Where a release says
something of an earlier run, or only part of what there is to say, the store knows better: then
``is_unclear`` asks for the fleet to be counted anew, which never makes a sum fall.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter, lt
from typing import Any

from trafficd import schema
from trafficd.collector.slices import Node, Slice
from trafficd.series import Series

BYTES = (
    schema.UPLINK_RECEIVE,
    schema.UPLINK_TRANSMIT,
    schema.TUNNEL_RECEIVE,
    schema.TUNNEL_TRANSMIT,
    schema.CLASS_RECEIVE,
    schema.CLASS_TRANSMIT,
)
_BYTE_NAMES = frozenset(metric.sample_name for metric in BYTES)
_START = Series(schema.START_TIMESTAMP.sample_name)
# More than a fleet has combinations of classes.
_MOST_LAYOUTS = 1024

Totals = tuple[float, ...]


class Layout:
    """Where in a slice the byte totals stand, and the start of their run."""

    def __init__(self, series: tuple[Series, ...]) -> None:
        places = [number for number, each in enumerate(series) if each.name in _BYTE_NAMES]
        self.bytes = tuple(series[number] for number in places)
        self._start = series.index(_START) if _START in series else None
        # One more than asked for, since a single place would not be picked as a tuple.
        self._pick: Any = itemgetter(*places, *places[:1]) if places else None

    def totals(self, values: Totals) -> Totals:
        """Return the totals of ``bytes`` in *values*."""
        return self._pick(values)[:-1] if self._pick else ()

    def started_at(self, values: Totals) -> float | None:
        """Return the start of the run, if the slice says it."""
        return None if self._start is None else values[self._start]


_layout = lru_cache(maxsize=_MOST_LAYOUTS)(Layout)
_NOTHING = Layout(())


@dataclass(slots=True)
class Card:
    """One node: its totals as of *at*, which is 0 before its first release."""

    node: Node
    added_at: float
    is_shown: bool = True
    at: int = 0
    started_at: float | None = None
    series: tuple[Series, ...] = ()
    layout: Layout = _NOTHING
    totals: Totals = ()
    # Of the totals, what the sums of its location hold.
    summed: Totals = ()


class Fleet:
    """All nodes, by number, and the sums of their locations."""

    def __init__(self) -> None:
        self.cards: dict[int, Card] = {}
        # By location, then by series; they never fall.
        self.sums: defaultdict[str, dict[Series, float]] = defaultdict(dict)
        self.is_unclear = False
        # Those that said something since the page was rendered.
        self.changed: set[int] = set()

    def know(self, nodes: Iterable[tuple[Node, float, bool]]) -> None:
        """Know these nodes, since when each is one, and whether it still may write."""
        for node, added_at, is_shown in nodes:
            card = self.cards.setdefault(node.number, Card(node, added_at))
            # What it said until now is the location's that it had.
            self.settle(card)
            card.node, card.added_at, card.is_shown = node, added_at, is_shown
            self.changed.add(node.number)

    def count_anew(
        self,
        latest: Iterable[tuple[int, Slice]],
        carried: Iterable[tuple[int, Mapping[Series, float]]],
    ) -> None:
        """Take what the store has: the last of each node, and the ends of its earlier runs."""
        self.is_unclear = False
        sums: defaultdict[str, dict[Series, float]] = defaultdict(dict)
        for card in self.cards.values():
            self.settle(card)
        for number, slice_ in latest:
            if known := self.cards.get(number):
                if slice_.at >= known.at:
                    _fill(known, slice_)
                    known.summed = known.totals
                    self.changed.add(number)
                _add(sums[known.node.location], known.layout.bytes, known.totals)
        for number, ended in carried:
            if known := self.cards.get(number):
                _add(sums[known.node.location], ended.keys(), ended.values())
        for location, found in sums.items():
            before = self.sums[location]
            for series, total in found.items():
                before[series] = max(total, before.get(series, 0.0))

    def keep(self, number: int, slices: Sequence[Slice]) -> None:
        """Hear of *slices* that are durable now."""
        card = self.cards.get(number)
        if card is None:
            # The command added it a moment ago; whoever rereads the nodes counts anew.
            self.is_unclear = True
            return
        for each in slices:
            self._keep_one(card, each)
        self.changed.add(number)

    def settle(self, card: Card) -> None:
        """Have the sums of its location hold what *card* says."""
        if card.summed == card.totals:
            return
        sums = self.sums[card.node.location]
        for series, total, summed in zip(card.layout.bytes, card.totals, card.summed, strict=True):
            sums[series] = sums.get(series, 0.0) + total - summed
        card.summed = card.totals

    def _keep_one(self, card: Card, slice_: Slice) -> None:
        is_same = slice_.series is card.series or slice_.series == card.series
        layout = card.layout if is_same else _layout(slice_.series)
        started_at = layout.started_at(slice_.values)
        totals = layout.totals(slice_.values)
        goes_on = started_at == card.started_at
        if slice_.at > card.at and is_same and goes_on and not any(map(lt, totals, card.totals)):
            # The same object next time, most likely, and comparing that is nothing.
            card.at, card.totals, card.series = slice_.at, totals, slice_.series
        elif slice_.at > card.at:
            self._begin(card, slice_, layout, totals)
        elif slice_.at == card.at:
            # Said before, or another part of the same.
            self.is_unclear |= not is_same or totals != card.totals
        else:
            # In the run that we know a late total changes nothing, as totals are cumulative.
            self.is_unclear |= not goes_on

    def _begin(self, card: Card, slice_: Slice, layout: Layout, totals: Totals) -> None:
        """Take the first release of a run, or one that says more than those before."""
        started_at = layout.started_at(slice_.values)
        known = dict(zip(card.layout.bytes, card.totals, strict=True))
        is_part = not known.keys() <= set(layout.bytes)
        if card.at and (is_part or (started_at is None) != (card.started_at is None)):
            self.is_unclear = True
            return
        self.settle(card)
        sums = self.sums[card.node.location]
        for series in layout.bytes:
            sums.setdefault(series, 0.0)
        before = [known.get(series, 0.0) for series in layout.bytes]
        goes_on = started_at == card.started_at and not any(map(lt, totals, before))
        _fill(card, slice_)
        card.summed = tuple(before) if goes_on else (0.0,) * len(before)


def _fill(card: Card, slice_: Slice) -> None:
    if slice_.series is not card.series:
        card.series = slice_.series
        card.layout = _layout(slice_.series)
    card.at = slice_.at
    card.started_at = card.layout.started_at(slice_.values)
    card.totals = card.layout.totals(slice_.values)


def _add(sums: dict[Series, float], series: Iterable[Series], totals: Iterable[float]) -> None:
    for each, total in zip(series, totals, strict=True):
        sums[each] = sums.get(each, 0.0) + total

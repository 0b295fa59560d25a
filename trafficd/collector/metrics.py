"""The fleet as text for Prometheus, family by family, with what did not change rendered before.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4. Names of
nodes, locations and classes are short lower-case words, so there is nothing to escape.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from trafficd.clock import Clock
from trafficd.collector.answers import Result
from trafficd.collector.fleet import BYTES, Card, Fleet
from trafficd.planning.document import Plan, Summary
from trafficd.schema import Kind, Metric
from trafficd.series import Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NODE_LABELS = ("node", "location")
NODE_BYTES = tuple(
    Metric(each.name, each.kind, each.help, (*_NODE_LABELS, *each.labels)) for each in BYTES
)
LOCATION_BYTES = tuple(
    Metric(
        each.name.replace("trafficd_", "trafficd_location_", 1),
        each.kind,
        f"{each.help.removesuffix('.')}, all nodes of a location since they were first heard of.",
        ("location", *each.labels),
    )
    for each in BYTES
)
LAST_RELEASE = Metric(
    "trafficd_node_last_release_timestamp_seconds",
    Kind.GAUGE,
    "The grid point of the newest release; 0 before the first.",
    _NODE_LABELS,
)
LATENESS = Metric(
    "trafficd_node_lateness_seconds",
    Kind.GAUGE,
    "Time since the newest release, or since the node was added where there is none.",
    _NODE_LABELS,
)
MESSAGES = Metric(
    "trafficd_collector_messages",
    Kind.COUNTER,
    "Pushed messages by what became of them.",
    ("result",),
)
DATABASE_BYTES = Metric(
    "trafficd_collector_database_bytes", Kind.GAUGE, "Size of the database's files."
)
PLAN_P95 = Metric(
    "trafficd_plan_p95_bits_per_second",
    Kind.GAUGE,
    "95th percentile of the last 30 days, of the busier direction: the sum of the uplinks' own.",
    ("location",),
)
PLAN_CAPACITY = Metric(
    "trafficd_plan_capacity_bits_per_second",
    Kind.GAUGE,
    "Capacity of the uplinks that are there.",
    ("location",),
)
PLAN_SATURATION = Metric(
    "trafficd_plan_saturation_first_timestamp_seconds",
    Kind.GAUGE,
    "Early edge of the window in which a part of the capacity is reached; absent without a window.",
    ("location", "threshold"),
)
PLAN_ORDER_BY = Metric(
    "trafficd_plan_order_by_timestamp_seconds",
    Kind.GAUGE,
    "The day by which to order for it; absent where no day can be told.",
    ("location", "threshold"),
)
PLAN = (PLAN_P95, PLAN_CAPACITY, PLAN_SATURATION, PLAN_ORDER_BY)
METRICS = (*NODE_BYTES, LAST_RELEASE, LATENESS, *LOCATION_BYTES, MESSAGES, DATABASE_BYTES, *PLAN)

# So many nodes at a time are some milliseconds of work; then it is others' turn.
_NODES_AT_A_TIME = 250
_PLACE_OF = {metric.sample_name: place for place, metric in enumerate(BYTES)}
_PLACE_OF_LAST = len(BYTES)

# What one node adds to each family: those of BYTES, and LAST_RELEASE.
Lines = Sequence[bytes]


class MetricsPage:
    """The page of a fleet; every node's lines are rendered once a release."""

    def __init__(
        self,
        fleet: Fleet,
        results: Mapping[Result, int],
        size_bytes: Callable[[], int],
        plan: Callable[[], Plan | None],
        clock: Clock,
    ) -> None:
        self._fleet = fleet
        self._results = results
        self._size_bytes = size_bytes
        self._plan = plan
        self._clock = clock
        self._lines: dict[int, Lines] = {}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the page in pieces; between them others have their turn.

        Totals of nodes and sums of locations are of one moment.
        """
        await self._render_changed()
        shown = [card for card in self._fleet.cards.values() if card.is_shown]
        lines = [self._lines[card.node.number] for card in shown]
        waited_from = [card.at or card.added_at for card in shown]
        labels = [_labels(card) for card in shown]
        sums = {location: dict(each) for location, each in self._fleet.sums.items()}
        now = self._clock.now().utc_seconds
        for place, metric in enumerate((*NODE_BYTES, LAST_RELEASE)):
            yield _head(metric)
            for some in _some([each[place] for each in lines], 4 * _NODES_AT_A_TIME):
                yield b"".join(some)
                await asyncio.sleep(0)
        yield _head(LATENESS)
        late = zip(labels, waited_from, strict=True)
        while some_late := list(islice(late, _NODES_AT_A_TIME)):
            yield "".join(
                [f"{LATENESS.name}{{{each}}} {now - since:.0f}\n" for each, since in some_late]
            ).encode()
            await asyncio.sleep(0)
        for source, metric in zip(BYTES, LOCATION_BYTES, strict=True):
            yield _head(metric) + b"".join(_location_lines(source, metric, sums))
        yield _head(MESSAGES)
        for result in Result:
            line = f'{MESSAGES.sample_name}{{result="{result}"}} {self._results.get(result, 0)}\n'
            yield line.encode()
        yield _head(DATABASE_BYTES) + f"{DATABASE_BYTES.name} {self._size_bytes()}\n".encode()
        ranking = plan.ranking if (plan := self._plan()) else ()
        for metric in PLAN:
            yield _head(metric) + "".join(_plan_lines(metric, ranking)).encode()

    async def _render_changed(self) -> None:
        changed = self._fleet.changed
        while changed:
            for number in list(islice(changed, _NODES_AT_A_TIME)):
                changed.discard(number)
                card = self._fleet.cards[number]
                self._fleet.settle(card)
                self._lines[number] = _lines(card)
            await asyncio.sleep(0)


def _lines(card: Card) -> Lines:
    labels = _labels(card)
    found: list[list[str]] = [[] for _ in range(_PLACE_OF_LAST + 1)]
    for series, total in zip(card.layout.bytes, card.totals, strict=True):
        found[_PLACE_OF[series.name]].append(
            f"{series.name}{{{labels}{_own_labels(series)}}} {total:.0f}\n"
        )
    found[_PLACE_OF_LAST].append(f"{LAST_RELEASE.name}{{{labels}}} {card.at}\n")
    return tuple("".join(each).encode() for each in found)


def _labels(card: Card) -> str:
    return f'node="{card.node.name}",location="{card.node.location}"'


def _own_labels(series: Series) -> str:
    return "".join([f',{label}="{value}"' for label, value in series.labels])


def _location_lines(
    source: Metric, metric: Metric, sums: Mapping[str, Mapping[Series, float]]
) -> Iterator[bytes]:
    for location in sorted(sums):
        for series in sorted(sums[location]):
            if series.name == source.sample_name:
                labels = f'location="{location}"{_own_labels(series)}'
                line = f"{metric.sample_name}{{{labels}}} {sums[location][series]:.0f}\n"
                yield line.encode()


def _plan_lines(metric: Metric, ranking: Sequence[Summary]) -> Iterator[str]:
    for each in sorted(ranking, key=lambda each: each.name):
        labels = f'location="{each.name}"'
        rate = {
            PLAN_P95: each.p95_bits_per_second,
            PLAN_CAPACITY: each.capacity_bits_per_second,
        }.get(metric)
        if rate is not None:
            yield f"{metric.name}{{{labels}}} {rate:.0f}\n"
        for crossing in each.crossings:
            day = {PLAN_SATURATION: crossing.first, PLAN_ORDER_BY: crossing.order_by}.get(metric)
            if day is not None:
                midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
                part = f'threshold="{crossing.threshold:g}"'
                yield f"{metric.name}{{{labels},{part}}} {midnight:.0f}\n"


def _head(metric: Metric) -> bytes:
    name = metric.sample_name
    return f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n".encode()


def _some(lines: Sequence[bytes], count: int) -> Iterator[Sequence[bytes]]:
    return (lines[start : start + count] for start in range(0, len(lines), count))

"""A made-up history on its way into a collector's store, as nodes would have pushed it.

Every release is a remote-write message, read by the ingest and appended in batches; then the days
that are over are summed up. A store that has it cannot tell that nothing of it was ever counted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from trafficd.collector.credentials import hash_of
from trafficd.collector.ingest import Ingest
from trafficd.collector.retention import Kept
from trafficd.collector.slices import Node
from trafficd.collector.store import Store
from trafficd.demo.fleet import Member, Span
from trafficd.demo.rhythm import DAY_SECONDS
from trafficd.errors import TrafficdError
from trafficd.schema import SLOT_SECONDS
from trafficd.wire.remote_write import Layout, Protocol

PROTOCOL = Protocol.V2
# Chosen: a transaction of some tens of milliseconds.
_BATCH = 1000
# Chosen: the releases of 8 nodes are then 30 MB as Python's numbers.
_AT_A_TIME_SECONDS = 4 * DAY_SECONDS
# Chosen: somebody who waits is told some times a second.
_STEPS = 100

# A message of the node with this place in the fleet.
Message = tuple[int, bytes]
# Hears how many messages have been stored.
Progress = Callable[[int], object]


def messages(members: Sequence[Member], span: Span) -> Iterator[Message]:
    """Yield what *members* pushed in *span*, by time and then in their order."""
    from trafficd.demo.past import Past

    pasts = [Past(member, span, span.until) for member in members]
    layouts = [
        Layout(member.name, member.location, past.series, PROTOCOL)
        for member, past in zip(members, pasts, strict=True)
    ]
    for since in range(span.since, span.until + 1, _AT_A_TIME_SECONDS):
        found = []
        for number, past in enumerate(pasts):
            times, rows = past.between(since, min(since + _AT_A_TIME_SECONDS, span.until + 1))
            found += [(at, number, row) for at, row in zip(times, rows, strict=True)]
        for at, number, row in sorted(found, key=_by_time):
            yield number, layouts[number].pack(at, row)


def points(span: Span) -> int:
    """Return how many grid points there are in *span*."""
    by_window = (span.slots_since - span.since) // span.window_seconds
    return by_window + (span.until - span.slots_since) // SLOT_SECONDS


def count(members: Sequence[Member], span: Span) -> int:
    """Return about how many messages that is: as if none was ever away."""
    spans = (
        span
        if each.came_days_ago is None
        else replace(span, days=min(span.days, each.came_days_ago))
        for each in members
    )
    return sum(points(each) for each in spans)


def take(
    store: Store, nodes: Sequence[Node], found: Iterable[Message], now: float, progress: Progress
) -> None:
    """Store *found*, messages of *nodes*, as if each had been pushed.

    Raises: TrafficdError if one is refused.
    """
    ingest = Ingest()
    stored = 0
    arrivals = (
        (nodes[number].number, ingest.read(nodes[number], message, PROTOCOL, now))
        for number, message in found
    )
    while batch := list(islice(arrivals, _BATCH)):
        refused = [each for each in store.append(batch) if each is not None]
        if refused:
            raise TrafficdError(f"history: refused: {refused[0]}")
        stored += len(batch)
        progress(stored)


def sum_up(store: Store, now: float, progress: Progress) -> None:
    """Sum up the days that are over, and let go what a collector would have."""
    steps = 0
    while store.tidy(now, Kept()):
        steps += 1
        if not steps % _STEPS:
            progress(steps)


def fill(store: Store, members: Sequence[Member], span: Span) -> list[Node]:
    """Let *members* write to *store*, and give it their history; return them as it knows them."""
    nodes = [
        store.add_node(member.name, member.location, hash_of(member.name)) for member in members
    ]
    take(store, nodes, messages(members, span), span.until, _nothing)
    sum_up(store, span.until, _nothing)
    return nodes


def _nothing(_done: int) -> None:
    """Tell nobody."""


def _by_time(each: tuple[int, int, list[float]]) -> tuple[int, int]:
    return each[:2]

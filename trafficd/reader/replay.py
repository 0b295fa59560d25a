"""A recording through the reader's own accounting: what would have been released, and when."""

from collections.abc import Iterable, Iterator

from trafficd.accounting.classify import Classifier
from trafficd.accounting.ledger import Ledger, LinkTable
from trafficd.accounting.release import Publisher
from trafficd.accounting.window import Grid
from trafficd.clock import Moment
from trafficd.config import AgentSettings
from trafficd.kernel.recorded import RecordedEvent
from trafficd.links import LinkChanged, LinkRemoved
from trafficd.releases import Faults, Release


def replay(settings: AgentSettings, recording: Iterable[RecordedEvent]) -> Iterator[Release]:
    """Yield the release of each grid point after the first event, up to the last event's time.

    An event stamped exactly at a grid point belongs to the window that ends there. The run begins
    with the window that holds the first event.
    """
    events = iter(recording)
    first = next(events, None)
    if first is None:
        return
    node = _ReplayedNode(settings, first.at)
    latest = first
    node.apply(first)
    for event in events:
        yield from node.releases_before(event.at)
        node.apply(event)
        latest = event
    yield from node.releases_up_to(latest.at)


class _ReplayedNode:
    """The accounting of one node, on the recording's time."""

    def __init__(self, settings: AgentSettings, first_at: float) -> None:
        self._ledger = Ledger()
        self._tables: dict[str, LinkTable] = {}
        self._classifier = Classifier(settings.links)
        start = int(first_at // settings.window) * settings.window
        self._window_seconds = settings.window
        self._next_point = start + settings.window
        self._grid = Grid(settings.window, Moment(start, start))
        self._publisher = Publisher(
            classes=settings.classes,
            capacity_bits_per_second=settings.capacity_bits_per_second,
            started_at=self._grid.started_at,
        )

    def apply(self, event: RecordedEvent) -> None:
        """Account one event."""
        table = self._tables.setdefault(event.namespace, self._ledger.open_table())
        match event.said:
            case LinkChanged(ifindex, identity, counters):
                table.change(ifindex, self._classifier.group(event.namespace, identity), counters)
            case LinkRemoved(ifindex, identity, counters):
                table.remove(ifindex, self._classifier.group(event.namespace, identity), counters)
            case sample:
                table.apply(sample)

    def releases_before(self, at: float) -> Iterator[Release]:
        """Yield the releases of the grid points before *at*."""
        while self._next_point < at:
            yield self._release()

    def releases_up_to(self, at: float) -> Iterator[Release]:
        """Yield the releases of the grid points up to and including *at*."""
        while self._next_point <= at:
            yield self._release()

    def _release(self) -> Release:
        point, self._next_point = self._next_point, self._next_point + self._window_seconds
        now = Moment(point, point)
        if self._grid.due(now) == point:
            self._grid.decided(point, now)
            self._publisher.decide(point, self._ledger, Faults())
        return self._publisher.latest

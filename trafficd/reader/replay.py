"""A recording through the reader's own accounting: what would have been released, and when."""

from collections.abc import Iterable, Iterator

from trafficd.accounting.classify import Classifier
from trafficd.accounting.ledger import Ledger
from trafficd.accounting.release import Decision, Publisher
from trafficd.accounting.slots import Slots
from trafficd.accounting.table import LinkTable
from trafficd.clock import Moment
from trafficd.config import AgentSettings
from trafficd.kernel.recorded import RecordedEvent
from trafficd.links import LinkChanged, LinkRemoved
from trafficd.releases import Faults
from trafficd.schema import SLOT_SECONDS


def replay(settings: AgentSettings, recording: Iterable[RecordedEvent]) -> Iterator[Decision]:
    """Yield what is decided at each grid point after the first event, up to the last event's time.

    An event stamped exactly at a grid point belongs to the window that ends there. The run begins
    with the window that holds the first event, and slots count from that event on.
    """
    events = iter(recording)
    first = next(events, None)
    if first is None:
        return
    node = _ReplayedNode(settings, first.at)
    latest = first
    node.apply(first)
    for event in events:
        yield from node.decisions(event.at, is_included=False)
        node.apply(event)
        latest = event
    yield from node.decisions(latest.at, is_included=True)


class _ReplayedNode:
    """The accounting of one node, on the recording's time."""

    def __init__(self, settings: AgentSettings, first_at: float) -> None:
        self._ledger = Ledger()
        self._tables: dict[str, LinkTable] = {}
        self._classifier = Classifier(settings.links)
        self._capacity_bits_per_second = settings.capacity_bits_per_second
        start = int(first_at // settings.window) * settings.window
        self._window_seconds = settings.window
        self._next_point = start + settings.window
        self._next_edge = -int(-first_at // SLOT_SECONDS) * SLOT_SECONDS
        self._slots = Slots()
        self._publisher = Publisher(
            classes=settings.classes,
            capacity_bits_per_second=settings.capacity_bits_per_second,
            started_at=start,
            min_sessions=settings.release.min_sessions,
        )

    def apply(self, event: RecordedEvent) -> None:
        """Account one event."""
        table = self._tables.get(event.namespace)
        if table is None:
            table = self._tables[event.namespace] = self._ledger.open_table()
        match event.said:
            case LinkChanged(ifindex, identity, counters):
                table.change(ifindex, self._classifier.group(event.namespace, identity), counters)
            case LinkRemoved(ifindex, identity, counters):
                table.remove(ifindex, self._classifier.group(event.namespace, identity), counters)
            case sample:
                table.apply(sample)

    def decisions(self, until: float, *, is_included: bool) -> Iterator[Decision]:
        """Yield what is decided before *until*, and at that time if it *is_included*."""
        while True:
            at = min(self._next_edge, self._next_point)
            if at > until or (at == until and not is_included):
                return
            if at == self._next_edge:
                self._next_edge += SLOT_SECONDS
                self._slots.turn(
                    at,
                    Moment(at, at),
                    self._ledger.rated_uplink(),
                    self._capacity_bits_per_second,
                )
            if at == self._next_point:
                self._next_point += self._window_seconds
                yield self._publisher.decide(
                    at, self._ledger, utilisation=self._slots.utilisation(), faults=Faults()
                )

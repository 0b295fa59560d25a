"""Link events as a kernel would tell them, where no laboratory is allowed.

The schedule is played as events and samples through the reader's own rules: classifier, ledger,
grid and publisher. Only netlink and the packets are missing.
"""

from collections.abc import Callable

from trafficd.accounting.classify import Classifier
from trafficd.accounting.ledger import Ledger
from trafficd.accounting.release import Publisher
from trafficd.accounting.slots import Slots
from trafficd.accounting.window import Grid
from trafficd.clock import Moment
from trafficd.config import AgentSettings
from trafficd.demo.packets import OVERHEAD_BYTES
from trafficd.demo.traffic import Flow
from trafficd.links import LinkCounters, LinkIdentity, Sample
from trafficd.releases import Faults, Release, Totals
from trafficd.rules import HOST_NAMESPACE, LINK_TYPES

UPLINK = "eth0"


class Recording:
    """One node's links and its reader: what moves, and what is released of it."""

    def __init__(
        self,
        settings: AgentSettings,
        send: Callable[[Release], object],
        start: Moment,
        *,
        speed: float = 1.0,
    ) -> None:
        self._classifier = Classifier(settings.links)
        self._ledger = Ledger()
        self._table = self._ledger.open_table()
        self._grid = Grid(settings.window, start, speed=speed)
        self._slots = Slots(speed=speed)
        self._capacity_bits_per_second = settings.capacity_bits_per_second
        self._publisher = Publisher(
            classes=settings.classes,
            capacity_bits_per_second=settings.capacity_bits_per_second,
            started_at=self._grid.started_at,
            min_sessions=settings.release.min_sessions,
        )
        self._send = send
        self._links: dict[str, _Link] = {}
        self._last_ifindex = 0
        # Summed apart from the ledger, so that the two can be compared.
        self.flow = Flow(Totals(), Totals())
        self._uplink = self._appear(UPLINK, 0)
        self._send(self._publisher.latest)

    def open(self, link: str, packet_bytes: int) -> None:
        """Tell of a new tunnel link."""
        self._links[link] = self._appear(link, packet_bytes)

    def move(self, link: str, received: int, transmitted: int) -> None:
        """Count packets on a tunnel link, and inside and outside of the tunnel on the uplink."""
        tunnel = self._links[link]
        question, answer = received * tunnel.packet_bytes, transmitted * tunnel.packet_bytes
        uplink_rx_bytes = answer + question + received * OVERHEAD_BYTES
        uplink_tx_bytes = answer + question + transmitted * OVERHEAD_BYTES
        tunnel.rx_bytes += question
        tunnel.tx_bytes += answer
        self._uplink.rx_bytes += uplink_rx_bytes
        self._uplink.tx_bytes += uplink_tx_bytes
        self.flow = Flow(
            _plus(self.flow.uplink, uplink_rx_bytes, uplink_tx_bytes),
            _plus(self.flow.tunnel, question, answer),
        )

    def close(self, link: str) -> None:
        """Tell of a tunnel link's end, with its final counters."""
        gone = self._links.pop(link)
        group = self._classifier.group(HOST_NAMESPACE, _identity(link))
        self._table.remove(gone.ifindex, group, LinkCounters(gone.rx_bytes, gone.tx_bytes))

    def keep_time(self, now: Moment) -> None:
        """Release what the rules allow, if a grid point is due."""
        point, edge = self._grid.due(now), self._slots.due(now)
        if point is None and edge is None:
            return
        links = [self._uplink, *self._links.values()]
        self._table.apply(
            Sample(
                [link.ifindex for link in links],
                [link.rx_bytes for link in links],
                [link.tx_bytes for link in links],
            )
        )
        if edge is not None:
            self._slots.turn(edge, now, self._ledger.rated_uplink(), self._capacity_bits_per_second)
        if point is not None:
            self._grid.decided(point, now)
            decision = self._publisher.decide(
                point, self._ledger, utilisation=self._slots.utilisation(), faults=Faults()
            )
            self._send(decision.release)

    def _appear(self, name: str, packet_bytes: int) -> "_Link":
        self._last_ifindex += 1
        group = self._classifier.group(HOST_NAMESPACE, _identity(name))
        self._table.change(self._last_ifindex, group, LinkCounters(0, 0))
        return _Link(self._last_ifindex, packet_bytes)


class _Link:
    """The counters of a link that is not there."""

    def __init__(self, ifindex: int, packet_bytes: int) -> None:
        self.ifindex = ifindex
        self.packet_bytes = packet_bytes
        self.rx_bytes = 0
        self.tx_bytes = 0


def _identity(name: str) -> LinkIdentity:
    return LinkIdentity(name.encode(), LINK_TYPES["none"], is_slave=False)


def _plus(totals: Totals, rx_bytes: int, tx_bytes: int) -> Totals:
    return Totals(totals.rx_bytes + rx_bytes, totals.tx_bytes + tx_bytes)

"""Recordings for tests of the release rule, by a kernel that keeps books of its own."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from trafficd.accounting.release import Decision
from trafficd.config import AgentSettings, parse_config
from trafficd.kernel.recorded import RecordedEvent
from trafficd.links import LinkChanged, LinkCounters, LinkIdentity, LinkRemoved, Sample
from trafficd.reader.replay import replay
from trafficd.releases import Release, Totals
from trafficd.rules import HOST_NAMESPACE

MIB = 1 << 20
SLOT_SECONDS = 300
HOUR = 3600
DAY = 86400
MIDNIGHT = 1_700_006_400
assert MIDNIGHT % DAY == 0

# The kinds of links, each by how its names begin.
UPLINK, PORT, SPARE = "up", "port", "spare"  # 1 Mbit/s, 2 Mbit/s, and a capacity nobody stated
ALPHA, BETA = "alpha", "beta"  # per-session classes
WG = "wg"  # a shared class
IGNORED = "lo"
UPLINKS = (UPLINK, PORT, SPARE)
CLASSES = (ALPHA, BETA, WG)

_RULES = """
namespaces: [blue, green]
links:
  - {name: "up*", role: uplink, capacity: 1Mbit}
  - {name: "port*", role: uplink, capacity: 2Mbit}
  - {name: "spare*", role: uplink}
  - {name: "alpha*", class: alpha, population: per-session}
  - {name: "beta*", class: beta, population: per-session}
  - {name: "wg*", class: wg, population: shared}
"""


def configured(window: str = "1h", k: int = 10) -> AgentSettings:
    """Return the settings of the tests with this window and min_sessions."""
    return parse_config(f"window: {window}\nrelease: {{min_sessions: {k}}}\n{_RULES}")


@dataclass
class Naming:
    """All that the rule must not see: names, numbers, namespaces, and the order of a dump."""

    namespaces: tuple[str, ...] = (HOST_NAMESPACE,)
    first_ifindex: int = 2
    reuses_ifindexes: bool = False
    name: Callable[[str, int], str] = "{}{}".format
    dumps_backwards: bool = False


@dataclass(eq=False)
class Link:
    """A link as the kernel has it; *said* is what the last event told of its counters.

    One that is *apart* is left alone by the steps of a plan.
    """

    kind: str
    namespace: str
    ifindex: int
    name: str
    rx: int = 0
    tx: int = 0
    said: tuple[int, int] = (0, 0)
    is_open: bool = True
    is_apart: bool = False


@dataclass
class Recording:
    """A kernel whose events are recorded. It adds up what it has said, by kind, itself."""

    settings: AgentSettings = field(default_factory=configured)
    now: float = MIDNIGHT + 8 * HOUR
    naming: Naming = field(default_factory=Naming)
    events: list[RecordedEvent] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    # When, of which kind, receive and transmit.
    told: list[tuple[float, str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with a dump of no links."""
        self.dump()

    def open(self, kind: str, rx: int = 0, tx: int = 0) -> Link:
        """Create a link that moves these bytes at once."""
        number = len(self.links)
        namespace = self.naming.namespaces[number % len(self.naming.namespaces)]
        ifindex = self._free_ifindex(namespace)
        link = Link(kind, namespace, ifindex, self.naming.name(kind, number))
        self.links.append(link)
        self._event(link, LinkChanged(ifindex, _identity(link), LinkCounters(0, 0)))
        if rx or tx:
            self.move(link, rx, tx)
        return link

    def crowd(self, kind: str, size: int, rx: int = 0, tx: int = 0) -> list[Link]:
        """Create *size* links that move these bytes each."""
        return [self.open(kind, rx, tx) for _ in range(size)]

    def move(self, link: Link, rx: int, tx: int = 0) -> None:
        """Let bytes move; the next event of the link tells of them."""
        link.rx += rx
        link.tx += tx

    def reset(self, link: Link, rx: int, tx: int) -> None:
        """Let a dump find counters that began anew and stand at these."""
        self.dump([link])
        link.said = (0, 0) if rx < link.rx or tx < link.tx else link.said
        link.rx, link.tx = rx, tx
        self.dump([link])

    def rename(self, link: Link, kind: str) -> None:
        """Give a link a name of another kind, and tell of the bytes it moved under the old one."""
        self._tell(link)
        link.kind = kind
        link.name = self.naming.name(kind, self.links.index(link))
        counters = LinkCounters(link.rx, link.tx)
        self._event(link, LinkChanged(link.ifindex, _identity(link), counters))

    def announce_late(self, link: Link, rx: int, tx: int) -> None:
        """Deliver a notice with counters from before the last dump."""
        self.dump([link])
        behind = LinkCounters(max(0, link.rx - rx), max(0, link.tx - tx))
        self._event(link, LinkChanged(link.ifindex, _identity(link), behind))

    def close(self, link: Link, *, forgets: bool = False) -> None:
        """Remove a link; as a veth's do, its last counters may forget what a dump has told."""
        if forgets:
            self.dump([link])
        self._tell(link)
        link.is_open = False
        last = LinkCounters(0 if forgets else link.rx, link.tx)
        self._event(link, LinkRemoved(link.ifindex, _identity(link), last))

    def dump(self, links: Iterable[Link] | None = None) -> None:
        """Read the counters of *links*, or of all."""
        read = [each for each in (self.links if links is None else links) if each.is_open]
        if self.naming.dumps_backwards:
            read.reverse()
        by_namespace: dict[str, list[Link]] = defaultdict(list)
        for link in read:
            self._tell(link)
            by_namespace[link.namespace].append(link)
        if links is None and not read:
            self.events.append(RecordedEvent(self.now, HOST_NAMESPACE, Sample([], [], [])))
        for namespace, rows in by_namespace.items():
            columns = zip(*((each.ifindex, each.rx, each.tx) for each in rows), strict=True)
            sample = Sample(*(list(column) for column in columns))
            self.events.append(RecordedEvent(self.now, namespace, sample))

    def wait(self, seconds: float) -> None:
        """Let time pass, and dump as a reader does: all at grid points, uplinks between slots."""
        end, window = self.now + seconds, self.settings.window
        while True:
            edge, point = (_next_multiple(self.now, each) for each in (SLOT_SECONDS, window))
            if min(edge, point) > end:
                break
            self.now = min(edge, point)
            self.dump(None if self.now == point else self._uplinks())
        self.now = end

    def wait_until(self, hour: float) -> None:
        """Let time pass until so many hours behind midnight."""
        self.wait(MIDNIGHT + hour * HOUR - self.now)

    def next_point(self, points: int = 1) -> None:
        """Let time pass to the next grid point, as often as that."""
        for _ in range(points):
            self.wait(_next_multiple(self.now, self.settings.window) - self.now)

    def told_by(self, at: float, kinds: Iterable[str]) -> tuple[int, int]:
        """Return receive and transmit bytes told by the end of *at* of links of these kinds."""
        rows = [row for row in self.told if row[0] <= at and row[1] in tuple(kinds)]
        return sum(row[2] for row in rows), sum(row[3] for row in rows)

    def releases(self) -> list[Release]:
        """Return what the product publishes of this, grid point by grid point."""
        return [decision.release for decision in self.decisions()]

    def decisions(self) -> list[Decision]:
        """Return what the product decides, grid point by grid point."""
        return list(replay(self.settings, iter(self.events)))

    def last(self) -> Release:
        """Return what the product has published in the end."""
        return self.releases()[-1]

    def _uplinks(self) -> list[Link]:
        return [link for link in self.links if link.kind in UPLINKS]

    def _tell(self, link: Link) -> None:
        told = link.rx - link.said[0], link.tx - link.said[1]
        link.said = link.rx, link.tx
        self.told.append((self.now, link.kind, *told))

    def _event(self, link: Link, said: LinkChanged | LinkRemoved | Sample) -> None:
        self.events.append(RecordedEvent(self.now, link.namespace, said))

    def _free_ifindex(self, namespace: str) -> int:
        beside = [each for each in self.links if each.namespace == namespace]
        taken = {
            each.ifindex for each in beside if each.is_open or not self.naming.reuses_ifindexes
        }
        ifindex = self.naming.first_ifindex
        while ifindex in taken:
            ifindex += 1
        return ifindex


def _next_multiple(now: float, step: int) -> float:
    return (now // step + 1) * step


def of(release: Release, class_name: str) -> Totals:
    """Return what *release* says of a class."""
    return dict(release.classes)[class_name]


def _identity(link: Link) -> LinkIdentity:
    return LinkIdentity(link.name.encode(), 65534, False)

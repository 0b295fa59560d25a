"""The release rule as the design's section 5 words it: slow, obvious, and without a line of the
accounting that it judges.

Where the words leave something open it is settled here, in these terms:

- a session keeps what it moved on the seat it moved it from; a seat's two numbers stay when the
  session goes, and the next one to open sits down on the fullest such seat;
- of equally full seats the one with more received bytes is the fuller;
- bytes that a link says it moved when it changes its name were moved under the old one;
- the class cell is published only together with the node cell: the classes add up to the tunnel;
- the node cell is held with a class that has all but less than 1 MiB of a direction and is held;
- a class that is no longer configured is not shown, and is a group of the class cell still;
- what is stamped at the very end of a window or slot belongs to it.
"""

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from trafficd.config import AgentSettings
from trafficd.kernel.recorded import RecordedEvent
from trafficd.links import LinkChanged, LinkIdentity, LinkRemoved
from trafficd.releases import Release, Totals, Utilisation
from trafficd.rules import LinkRule, Population, Role

MIB = 1 << 20
SLOT_SECONDS = 300
DAY_SECONDS = 86400
# "upper bounds 0.05 to 0.50 by 0.05, then 0.52 to 1.00 by 0.02", in percent.
BOUNDS = [
    5, 10, 15, 20, 25, 30, 35, 40, 45, 50,
    52, 54, 56, 58, 60, 62, 64, 66, 68, 70, 72, 74, 76, 78, 80, 82, 84, 86, 88, 90, 92, 94, 96, 98,
    100,
]  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What the rule says at a grid point: which cells pass, and what is published."""

    at: int
    node_passes: bool
    classes_pass: bool
    release: Release


@dataclass
class Link:
    """One link from its creation to its removal; where it is per-session, that is a session."""

    namespace: str
    identity: LinkIdentity
    rule: LinkRule | None
    rx: int
    tx: int


@dataclass
class Seat:
    """What the sessions that sat here moved since the cell's last release."""

    sitter: Link | None = None
    rx: int = 0
    tx: int = 0


@dataclass
class Group:
    """A group of a cell, and the pool of its bytes since the cell's last release."""

    rx: int = 0
    tx: int = 0
    shared_bytes: int = 0
    seats: list[Seat] = field(default_factory=list)

    def open(self, session: Link) -> None:
        """Let *session* take the fullest seat nobody sits on, or a new one."""
        left = [seat for seat in self.seats if seat.sitter is None]
        if not left:
            left = [Seat()]
            self.seats += left
        fullest = max(left, key=lambda seat: (seat.rx + seat.tx, seat.rx))
        fullest.sitter = session

    def leave(self, session: Link) -> None:
        """Let *session* stand up; what it moved stays."""
        self._seat(session).sitter = None

    def move(self, link: Link, rx: int, tx: int) -> None:
        """Add what *link* moved."""
        self.rx += rx
        self.tx += tx
        if is_session(link.rule):
            self._seat(link).rx += rx
            self._seat(link).tx += tx
        else:
            self.shared_bytes += rx + tx

    def passes(self, k: int) -> bool:
        """Apply the three rules."""
        if self.rx == 0 and self.tx == 0:
            return True
        contributors = [seat for seat in self.seats if seat.rx + seat.tx >= MIB]
        if self.shared_bytes == 0 and len(contributors) < k:
            return False
        return obeys_2_and_3(self.rx, [seat.rx for seat in self.seats]) and obeys_2_and_3(
            self.tx, [seat.tx for seat in self.seats]
        )

    def empty(self) -> None:
        """Begin a new pool; the sessions that are still open keep their seats."""
        self.rx = self.tx = self.shared_bytes = 0
        for seat in self.seats:
            seat.rx = seat.tx = 0

    def _seat(self, session: Link) -> Seat:
        (seat,) = (seat for seat in self.seats if seat.sitter is session)
        return seat


def obeys_2_and_3(total: int, contributions: list[int]) -> bool:
    """Apply the p% rule and the half rule to one direction."""
    x1, x2 = sorted([*contributions, 0, 0], reverse=True)[:2]
    return 100 * (total - x1 - x2) >= 20 * x1 and 100 * x1 <= 50 * total


def is_session(rule: LinkRule | None) -> bool:
    """Return whether *rule* makes a link a session."""
    return rule is not None and is_tunnel(rule) and rule.clients is Population.PER_SESSION


def is_tunnel(rule: LinkRule | None) -> bool:
    """Return whether *rule* makes a link a tunnel."""
    return rule is not None and rule.counts_as is Role.TUNNEL


def class_name(rule: LinkRule | None) -> str:
    """Return the class of a tunnel's rule."""
    assert rule is not None
    assert rule.class_ is not None
    return rule.class_


class Oracle:
    """One node's rule, event by event and grid point by grid point."""

    def __init__(self, settings: AgentSettings, first_at: float) -> None:
        self.settings = settings
        self.first_at = first_at
        self.started_at = math.floor(first_at / settings.window) * settings.window
        self.links: dict[tuple[str, int], Link] = {}
        self.node = Group()
        self.classes = {name: Group() for name in settings.classes}
        # Exact totals, receive and transmit, and those at the last release of each cell.
        self.uplink, self.tunnel = [0, 0], [0, 0]
        self.class_totals = {name: [0, 0] for name in settings.classes}
        self.published_uplink, self.published_tunnel = Totals(), Totals()
        self.published_classes = {name: Totals() for name in settings.classes}
        self.published_utilisation = Utilisation()
        # Every move of an uplink that has a capacity: when, receive and transmit.
        self.uplink_moves: list[tuple[float, int, int]] = []

    def apply(self, event: RecordedEvent) -> None:
        """Account one event as section 4 says."""
        match event.said:
            case LinkChanged(ifindex, identity, counters):
                key = event.namespace, ifindex
                rule = self._rule(event.namespace, identity)
                if key in self.links:
                    link = self.links[key]
                    if counters is not None and (
                        counters.rx_bytes >= link.rx and counters.tx_bytes >= link.tx
                    ):
                        self._moved(event.at, link, counters.rx_bytes, counters.tx_bytes)
                    link.identity = identity
                    self._rename(link, rule)
                elif counters is not None:
                    link = Link(
                        event.namespace, identity, rule, counters.rx_bytes, counters.tx_bytes
                    )
                    self.links[key] = link
                    self._open(link)
            case LinkRemoved(ifindex, _, counters):
                gone = self.links.pop((event.namespace, ifindex))
                if counters is not None:
                    rx, tx = max(gone.rx, counters.rx_bytes), max(gone.tx, counters.tx_bytes)
                    self._moved(event.at, gone, rx, tx)
                self._leave(gone)
            case sample:
                for ifindex, rx, tx in zip(
                    sample.ifindexes, sample.rx_bytes, sample.tx_bytes, strict=True
                ):
                    if (event.namespace, ifindex) not in self.links:
                        continue
                    link = self.links[event.namespace, ifindex]
                    if rx < link.rx or tx < link.tx:
                        link.rx = link.tx = 0
                    self._moved(event.at, link, rx, tx)

    def reread(self, settings: AgentSettings) -> None:
        """Go on by other rules; what a link moved until now stays where it was counted."""
        self.settings = settings
        for name in settings.classes:
            self.classes.setdefault(name, Group())
            self.class_totals.setdefault(name, [0, 0])
            self.published_classes.setdefault(name, Totals())
        for link in self.links.values():
            self._rename(link, self._rule(link.namespace, link.identity))

    def decide(self, at: int) -> Expected:
        """Apply the release rule at the grid point *at*."""
        k = self.settings.release.min_sessions
        node_passes = self.node.passes(k) and not self._tells_a_held_class(k)
        classes_pass = node_passes and all(group.passes(k) for group in self.classes.values())
        if node_passes:
            self.published_uplink = _rounded(self.uplink)
            self.published_tunnel = _rounded(self.tunnel)
            if at % DAY_SECONDS == 0:
                self.published_utilisation = self._utilisation(at)
            self.node.empty()
        if classes_pass:
            for name, group in self.classes.items():
                self.published_classes[name] = _rounded(self.class_totals[name])
                group.empty()
        release = Release(
            at=at,
            started_at=self.started_at,
            capacity_bits_per_second=self.settings.capacity_bits_per_second,
            uplink=self.published_uplink,
            tunnel=self.published_tunnel,
            classes=tuple((name, self.published_classes[name]) for name in self.settings.classes),
            utilisation=self.published_utilisation,
        )
        return Expected(at, node_passes, classes_pass, release)

    def _tells_a_held_class(self, k: int) -> bool:
        """Say whether the tunnel total tells one of a class that is held, but for under 1 MiB."""
        for groups in (
            [(group.rx, group) for group in self.classes.values()],
            [(group.tx, group) for group in self.classes.values()],
        ):
            for moved, group in groups:
                others = sum(each for each, _ in groups) - moved
                if moved and others < MIB and not group.passes(k):
                    return True
        return False

    def _rule(self, namespace: str, identity: LinkIdentity) -> LinkRule | None:
        for rule in self.settings.links:
            if (
                fnmatch.fnmatchcase(bytes(identity.name), rule.name.encode())
                and rule.type in (None, identity.link_type)
                and rule.namespace in (None, namespace)
                and rule.slave in (None, identity.is_slave)
            ):
                return rule
        return None

    def _open(self, link: Link) -> None:
        if is_session(link.rule):
            self.node.open(link)
            self._class_of(link).open(link)

    def _leave(self, link: Link) -> None:
        if is_session(link.rule):
            self.node.leave(link)
            self._class_of(link).leave(link)

    def _rename(self, link: Link, rule: LinkRule | None) -> None:
        if not (is_session(link.rule) and is_session(rule)):
            self._leave(link)
            link.rule = rule
            self._open(link)
        # Still a session of the node, on the same seat; in another class it opens.
        elif self._class_of(link) is self.classes[class_name(rule)]:
            link.rule = rule
        else:
            self._class_of(link).leave(link)
            link.rule = rule
            self._class_of(link).open(link)

    def _moved(self, at: float, link: Link, rx: int, tx: int) -> None:
        moved = rx - link.rx, tx - link.tx
        link.rx, link.tx = rx, tx
        if link.rule is None or link.rule.counts_as is Role.IGNORED:
            return
        if is_tunnel(link.rule):
            _add(self.tunnel, moved)
            _add(self.class_totals[class_name(link.rule)], moved)
            self.node.move(link, *moved)
            self._class_of(link).move(link, *moved)
            return
        _add(self.uplink, moved)
        if link.rule.capacity is not None:
            self.uplink_moves.append((at, *moved))

    def _class_of(self, link: Link) -> Group:
        return self.classes[class_name(link.rule)]

    def _utilisation(self, at: int) -> Utilisation:
        """Count every slot from the first event to *at*."""
        capacity = self.settings.capacity_bits_per_second
        receive, transmit = ([0] * (len(BOUNDS) + 1) for _ in range(2))
        begin = math.ceil(self.first_at / SLOT_SECONDS) * SLOT_SECONDS
        for start in range(begin, at, SLOT_SECONDS) if capacity else ():
            end = start + SLOT_SECONDS
            within = [move for move in self.uplink_moves if start < move[0] <= end]
            receive[_bucket(sum(rx for _, rx, _ in within), capacity)] += 1
            transmit[_bucket(sum(tx for _, _, tx in within), capacity)] += 1
        return Utilisation(tuple(receive), tuple(transmit))


def expected_releases(settings: AgentSettings, events: Sequence[RecordedEvent]) -> list[Expected]:
    """Return what the rule says at each grid point after the first event, up to the last event."""
    if not events:
        return []
    oracle = Oracle(settings, events[0].at)
    expected = []
    waiting = list(events)
    point = oracle.started_at + settings.window
    while point <= events[-1].at:
        while waiting and waiting[0].at <= point:
            oracle.apply(waiting.pop(0))
        expected.append(oracle.decide(point))
        point += settings.window
    return expected


def _bucket(moved_bytes: int, capacity_bits_per_second: int) -> int:
    """Return the first bucket whose bound the mean rate does not exceed."""
    for number, percent in enumerate(BOUNDS):
        if 100 * 8 * moved_bytes <= percent * SLOT_SECONDS * capacity_bits_per_second:
            return number
    return len(BOUNDS)


def _rounded(exact: list[int]) -> Totals:
    rx, tx = (each // MIB * MIB for each in exact)
    return Totals(rx, tx)


def _add(total: list[int], moved: tuple[int, int]) -> None:
    total[0] += moved[0]
    total[1] += moved[1]

"""Counters that reset and vanish to totals that only grow, and to seats that say who moved them.

A link table holds the links of one network namespace. A link enters it by the first dump, by its
RTM_NEWLINK, or by the dump after an overrun; it leaves by its RTM_DELLINK, or by being absent from
the dump after an overrun. A dump in between moves counters, and finds the links whose events a
socket filter keeps from the reader: one that no event told of is *unknown*, and enters by the
answer to a question for its name; one that is missing from two whole dumps in a row has left. One
dump alone says neither, because the event may be on its way.

Invariants, for each link and direction, between entering and leaving:

- the total of its group has grown by what the counter has moved since the link entered;
- ``last`` is the newest counter that was added; a counter below it in a dump is a reset, and one
  below it in an event is older than the dump before it, or a link being dismantled: not added.

Events and dumps come over two sockets. A dump is applied with the set of links that an event
touched while it was under way: for those nobody knows which is newer, so the dump's word on them
is dropped and the next one holds their bytes. A link number that is used again is in that set.

A link whose name is not known yet is *unnamed*: its first counter is kept and its bytes wait
until a name says what they count towards. One whose name came without counters, because a socket
filter cut them off, is *announced*: it enters with the next dump that holds it.

A per-session link sits on two seats, the node's and its class's. Its bytes reach them when it is
settled: at a release, and whenever its place in the table changes. Between those, nothing but the
counters is touched: 10,000 links are sampled many times an hour.
"""

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from trafficd.accounting.classify import Group
from trafficd.accounting.seats import Seats
from trafficd.links import LinkCounters, Sample
from trafficd.releases import Totals
from trafficd.rules import Population, Role


class Tally:
    """The running total of one group; its links add to it.

    *seats* are the node's and the class's, None where a link is not one session.
    """

    __slots__ = ("rx_bytes", "seats", "tx_bytes")

    def __init__(self, seats: tuple[Seats, Seats] | None) -> None:
        self.rx_bytes = 0
        self.tx_bytes = 0
        self.seats = seats


@dataclass(frozen=True, slots=True)
class Standing:
    """What the links of each group had moved at one moment."""

    groups: Mapping[Group, Totals]

    def total(
        self, role: Role, class_name: str | None = None, population: Population | None = None
    ) -> Totals:
        """Return the sum over the groups of *role*, or of those of a class or population only."""
        chosen = [
            totals
            for group, totals in self.groups.items()
            if group.role is role
            and class_name in (None, group.class_name)
            and population in (None, group.population)
        ]
        return Totals(sum(t.rx_bytes for t in chosen), sum(t.tx_bytes for t in chosen))

    @property
    def class_names(self) -> set[str]:
        """Every class that ever had a link, configured still or not."""
        return {group.class_name for group in self.groups if group.role is Role.TUNNEL}


class Ledger:
    """The totals of every group, the seats, and a link table for each network namespace."""

    def __init__(self) -> None:
        self.node_seats = Seats()
        self.class_seats: dict[str, Seats] = defaultdict(Seats)
        self._tallies: dict[Group, Tally] = {}
        self._tables: list[LinkTable] = []

    def open_table(self) -> "LinkTable":
        """Return the table of one more namespace, empty."""
        self._tables.append(LinkTable(self))
        return self._tables[-1]

    def standing(self) -> Standing:
        """Return what the links of each group have moved until now."""
        return Standing(
            {group: Totals(t.rx_bytes, t.tx_bytes) for group, t in self._tallies.items()}
        )

    def rated_uplink(self) -> Totals:
        """Return what the uplinks moved whose capacity is known."""
        tallies = [tally for group, tally in self._tallies.items() if group.is_rated]
        return Totals(sum(t.rx_bytes for t in tallies), sum(t.tx_bytes for t in tallies))

    def settle(self) -> None:
        """Bring every session's bytes to its seats; called before the seats are looked at."""
        for table in self._tables:
            table.settle()

    def tally(self, group: Group) -> Tally:
        """Return where the bytes of *group* are added."""
        tally = self._tallies.get(group)
        if tally is None:
            is_session = group.role is Role.TUNNEL and group.population is Population.PER_SESSION
            seats = (self.node_seats, self.class_seats[group.class_name]) if is_session else None
            tally = self._tallies[group] = Tally(seats)
        return tally


class LinkTable:
    """The links of one network namespace."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._links: dict[int, _Link] = {}
        self._announced: dict[int, Group] = {}
        self._missing: AbstractSet[int] = frozenset()

    @property
    def ifindexes(self) -> list[int]:
        """The links in the table, announced ones included."""
        return [*self._links, *self._announced]

    @property
    def awaits_dump(self) -> bool:
        """Whether a link was announced whose counters only a dump can tell."""
        return bool(self._announced)

    def resynchronise(
        self,
        sample: Sample,
        touched: AbstractSet[int] = frozenset(),
        *,
        is_whole: bool = True,
    ) -> None:
        """Make the table hold the links of *sample*: at first, and after an overrun.

        A link that is new here starts at the counters it has, unnamed. One that is missing is
        closed at the counters last seen, but only a dump that *is_whole* can tell that it is.
        Nothing is counted that was not observed.
        """
        self.apply(sample, touched)
        for ifindex, rx_bytes, tx_bytes in _rows(sample):
            if ifindex not in self._links and ifindex not in touched:
                self._links[ifindex] = _Link(rx_bytes, tx_bytes)
        if is_whole:
            present = set(sample.ifindexes) | touched
            for ifindex in self._links.keys() - present:
                self._links.pop(ifindex).close()
            for ifindex in self._announced.keys() - present:
                del self._announced[ifindex]

    def apply(
        self,
        sample: Sample,
        touched: AbstractSet[int] = frozenset(),
        *,
        is_whole: bool = False,
    ) -> list[int]:
        """Add what the links moved by *sample*, but for those an event *touched* meanwhile.

        Only a sample that *is_whole* can tell that a link is missing. Return the links in it that
        nothing told of.
        """
        links = self._links
        unknown: list[int] = []
        touched_strangers = 0
        for ifindex, rx_bytes, tx_bytes in _rows(sample):
            link = links.get(ifindex)
            if link is None:
                if ifindex in touched:
                    touched_strangers += 1
                elif ifindex in self._announced:
                    self._enter(ifindex, self._announced.pop(ifindex), rx_bytes, tx_bytes)
                else:
                    unknown.append(ifindex)
                continue
            received = rx_bytes - link.rx_bytes
            sent = tx_bytes - link.tx_bytes
            if not (received or sent):
                continue
            tally = link.tally
            if tally is None or ifindex in touched:
                continue
            # The kernel re-creates both counters together: if one went back, both did.
            if received < 0 or sent < 0:
                link.reset()
                received, sent = rx_bytes, tx_bytes
            tally.rx_bytes += received
            tally.tx_bytes += sent
            link.rx_bytes = rx_bytes
            link.tx_bytes = tx_bytes
        if is_whole:
            # A set of 10,000 links is worth making only where one is missing.
            if len(sample.ifindexes) - len(unknown) - touched_strangers < len(links):
                self._close_missing(sample, touched)
            else:
                self._missing = frozenset()
            for ifindex in self._announced.keys() - touched:
                del self._announced[ifindex]
        return unknown

    def change(self, ifindex: int, group: Group, counters: LinkCounters | None) -> None:
        """Apply an RTM_NEWLINK: a new link, or one that has perhaps another name and group now.

        A new link starts at the counters its message carries: they are not 0 for one that came
        from another namespace. Bytes moved before a change of group stay where they were counted.
        """
        link = self._links.get(ifindex)
        if link is None:
            if counters is None:
                self._announced[ifindex] = group
            else:
                self._announced.pop(ifindex, None)
                self._enter(ifindex, group, counters.rx_bytes, counters.tx_bytes)
            return
        tally = self._ledger.tally(group)
        if link.tally is None:
            link.count_towards(tally)
        if (
            counters is not None
            and counters.rx_bytes >= link.rx_bytes
            and counters.tx_bytes >= link.tx_bytes
        ):
            link.move_to(counters.rx_bytes, counters.tx_bytes)
        link.count_towards(tally)

    def remove(self, ifindex: int, group: Group, counters: LinkCounters | None) -> None:
        """Apply an RTM_DELLINK; *group* counts only if the link had no name until now."""
        self._announced.pop(ifindex, None)
        link = self._links.pop(ifindex, None)
        if link is None:
            return
        if link.tally is None:
            link.count_towards(self._ledger.tally(group))
        if counters is not None:
            # A veth's final rx falls back to 0: its peer, which counted it, is gone already.
            link.move_to(
                max(link.rx_bytes, counters.rx_bytes), max(link.tx_bytes, counters.tx_bytes)
            )
        link.close()

    def settle(self) -> None:
        """Bring every session's bytes to its seats."""
        for link in self._links.values():
            # Asked here, because most links are at rest and there are 10,000 of them.
            if link.rx_bytes != link.settled_rx_bytes or link.tx_bytes != link.settled_tx_bytes:
                link.settle()

    def _close_missing(self, sample: Sample, touched: AbstractSet[int]) -> None:
        """Close the links that are missing from *sample* and were so from the one before it."""
        missing = self._links.keys() - set(sample.ifindexes) - touched
        for ifindex in missing & self._missing:
            self._links.pop(ifindex).close()
        self._missing = missing

    def _enter(self, ifindex: int, group: Group, rx_bytes: int, tx_bytes: int) -> None:
        link = self._links[ifindex] = _Link(rx_bytes, tx_bytes)
        link.count_towards(self._ledger.tally(group))


class _Link:
    """The newest counters that were added, and where they were added.

    *tally* is None while unnamed. The seats mean nothing where the tally has none.
    """

    __slots__ = (
        "class_seat",
        "node_seat",
        "rx_bytes",
        "settled_rx_bytes",
        "settled_tx_bytes",
        "tally",
        "tx_bytes",
    )

    def __init__(self, rx_bytes: int, tx_bytes: int) -> None:
        self.rx_bytes = self.settled_rx_bytes = rx_bytes
        self.tx_bytes = self.settled_tx_bytes = tx_bytes
        self.tally: Tally | None = None
        self.node_seat = self.class_seat = 0

    def count_towards(self, tally: Tally) -> None:
        """Add what moves from now on to *tally*, from the seats that go with it."""
        before, after = self.tally.seats if self.tally else None, tally.seats
        if self.tally is tally:
            return
        if before:
            self.settle()
            before[1].leave(self.class_seat)
            # A session that changes its class is still the same session of the node.
            if not after:
                before[0].leave(self.node_seat)
        if after:
            self.settled_rx_bytes, self.settled_tx_bytes = self.rx_bytes, self.tx_bytes
            self.class_seat = after[1].take()
            if not before:
                self.node_seat = after[0].take()
        self.tally = tally

    def move_to(self, rx_bytes: int, tx_bytes: int) -> None:
        """Add what moved since the counters last seen."""
        if self.tally is not None:
            self.tally.rx_bytes += rx_bytes - self.rx_bytes
            self.tally.tx_bytes += tx_bytes - self.tx_bytes
        self.rx_bytes = rx_bytes
        self.tx_bytes = tx_bytes

    def reset(self) -> None:
        """Begin anew at 0: the kernel has re-created the counters."""
        self.settle()
        self.rx_bytes = self.tx_bytes = self.settled_rx_bytes = self.settled_tx_bytes = 0

    def settle(self) -> None:
        """Bring what moved since the last time to the seats."""
        if self.tally is None or self.tally.seats is None:
            return
        rx_bytes = self.rx_bytes - self.settled_rx_bytes
        tx_bytes = self.tx_bytes - self.settled_tx_bytes
        if rx_bytes or tx_bytes:
            node, of_class = self.tally.seats
            node.add(self.node_seat, rx_bytes, tx_bytes)
            of_class.add(self.class_seat, rx_bytes, tx_bytes)
            self.settled_rx_bytes, self.settled_tx_bytes = self.rx_bytes, self.tx_bytes

    def close(self) -> None:
        """Leave the seats, with the bytes on them."""
        if self.tally is not None and self.tally.seats is not None:
            self.settle()
            node, of_class = self.tally.seats
            node.leave(self.node_seat)
            of_class.leave(self.class_seat)


def _rows(sample: Sample) -> "zip[tuple[int, int, int]]":
    return zip(sample.ifindexes, sample.rx_bytes, sample.tx_bytes, strict=True)

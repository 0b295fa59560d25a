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

from array import array
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Self

from trafficd.accounting.classify import Group
from trafficd.accounting.seats import Seats
from trafficd.accounting.state import TableState
from trafficd.links import LinkCounters, Sample

# The columns of a TableState and the kinds of number in them (array, standard library).
_COLUMNS = {
    "ifindexes": "I",
    "rx_bytes": "Q",
    "tx_bytes": "Q",
    "settled_rx_bytes": "Q",
    "settled_tx_bytes": "Q",
    "groups": "i",
    "node_seats": "I",
    "class_seats": "I",
}
_UNNAMED = -1


class Tally:
    """The running total of one group; its links add to it.

    *number* is its place among the groups of the ledger. *seats* are the node's and the class's,
    None where a link is not one session.
    """

    __slots__ = ("number", "rx_bytes", "seats", "tx_bytes")

    def __init__(self, number: int, seats: tuple[Seats, Seats] | None) -> None:
        self.number = number
        self.rx_bytes = 0
        self.tx_bytes = 0
        self.seats = seats


class LinkTable:
    """The links of one network namespace."""

    def __init__(self, tally_of: Callable[[Group], Tally]) -> None:
        """Begin empty; *tally_of* returns where the bytes of a group are added."""
        self._tally_of = tally_of
        self._links: dict[int, Link] = {}
        self._announced: dict[int, Group] = {}
        self._has_missing = False

    @classmethod
    def restored(
        cls, state: TableState, tally_of: Callable[[Group], Tally], groups: Sequence[Group]
    ) -> Self:
        """Return the table of *state*, which names groups by their place in *groups*."""
        table = cls(tally_of)
        tallies = [tally_of(group) for group in groups]
        columns = (array(kind, getattr(state, name)) for name, kind in _COLUMNS.items())
        for ifindex, rx, tx, settled_rx, settled_tx, group, node, of_class in zip(
            *columns, strict=True
        ):
            link = table._links[ifindex] = Link(rx, tx)
            link.settled_rx_bytes, link.settled_tx_bytes = settled_rx, settled_tx
            link.tally = None if group == _UNNAMED else tallies[group]
            link.node_seat, link.class_seat = node, of_class
        table._announced = {ifindex: groups[place] for ifindex, place in state.announced.items()}
        for ifindex in state.missing:
            table._links[ifindex].was_missing = table._has_missing = True
        return table

    def state(self) -> TableState:
        """Return all that ``restored`` takes."""
        links = self._links.values()
        # A list for each column: twice as fast as a row for each link, and there are 10,000.
        columns = (
            list(self._links),
            [link.rx_bytes for link in links],
            [link.tx_bytes for link in links],
            [link.settled_rx_bytes for link in links],
            [link.settled_tx_bytes for link in links],
            [_UNNAMED if link.tally is None else link.tally.number for link in links],
            [link.node_seat for link in links],
            [link.class_seat for link in links],
        )
        return TableState(
            **{
                name: _packed(kind, column)
                for (name, kind), column in zip(_COLUMNS.items(), columns, strict=True)
            },
            announced={
                ifindex: self._tally_of(group).number for ifindex, group in self._announced.items()
            },
            missing=tuple(ifindex for ifindex, link in self._links.items() if link.was_missing),
        )

    def sessions(self) -> Iterator[tuple[Seats, Seats, "Link"]]:
        """Yield the links that sit on seats, behind the node's seats and those of their class."""
        for link in self._links.values():
            if link.tally is not None and link.tally.seats is not None:
                yield *link.tally.seats, link

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
        touched: Container[int] = frozenset(),
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
                self._links[ifindex] = Link(rx_bytes, tx_bytes)
        if is_whole:
            self._close_missing(sample, touched, at_once=True)
            self._announced = {i: group for i, group in self._announced.items() if i in touched}

    def apply(
        self,
        sample: Sample,
        touched: Container[int] = frozenset(),
        *,
        is_whole: bool = False,
    ) -> list[int]:
        """Add what the links moved by *sample*, but for those an event *touched* meanwhile.

        Only a sample that *is_whole* can tell that a link is missing. Return the links in it that
        nothing told of.
        """
        links, is_any_touched = self._links, bool(touched)
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
            if tally is None or (is_any_touched and ifindex in touched):
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
            # Looking at 10,000 links is worth while only where one is missing, or was.
            known = len(sample.ifindexes) - len(unknown) - touched_strangers
            if known < len(links) or self._has_missing:
                self._close_missing(sample, touched)
            self._announced = {i: group for i, group in self._announced.items() if i in touched}
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
        tally = self._tally_of(group)
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
            link.count_towards(self._tally_of(group))
        if counters is not None:
            # A veth's final rx falls back to 0: its peer, which counted it, is gone already.
            link.move_to(
                max(link.rx_bytes, counters.rx_bytes), max(link.tx_bytes, counters.tx_bytes)
            )
        link.close()

    def close(self) -> None:
        """Close every link at the counters last seen."""
        while self._links:
            self._links.popitem()[1].close()
        self._announced.clear()

    def settle(self) -> None:
        """Bring every session's bytes to its seats."""
        for link in self._links.values():
            # Asked here, because most links are at rest and there are 10,000 of them.
            if link.rx_bytes != link.settled_rx_bytes or link.tx_bytes != link.settled_tx_bytes:
                link.settle()

    def _close_missing(
        self, sample: Sample, touched: Container[int], *, at_once: bool = False
    ) -> None:
        """Close the links that are missing from *sample*, and were so from the one before it."""
        # Marked, not gathered: a set that is freed leaves the numbers in it behind in memory.
        for link in self._links.values():
            link.is_present = False
        for ifindex in sample.ifindexes:
            if ifindex in self._links:
                self._links[ifindex].is_present = True
        self._has_missing = False
        for ifindex, link in list(self._links.items()):
            link.is_present = link.is_present or ifindex in touched
            if not link.is_present and (at_once or link.was_missing):
                del self._links[ifindex]
                link.close()
            elif not link.is_present:
                self._has_missing = True
            link.was_missing = not link.is_present

    def _enter(self, ifindex: int, group: Group, rx_bytes: int, tx_bytes: int) -> None:
        link = self._links[ifindex] = Link(rx_bytes, tx_bytes)
        link.count_towards(self._tally_of(group))


class Link:
    """The newest counters that were added, and where they were added.

    *tally* is None while unnamed. The seats mean nothing where the tally has none. *is_present* is
    what a whole dump found, where one lacked links, and *was_missing* what the one before it found.
    """

    __slots__ = (
        "class_seat",
        "is_present",
        "node_seat",
        "rx_bytes",
        "settled_rx_bytes",
        "settled_tx_bytes",
        "tally",
        "tx_bytes",
        "was_missing",
    )

    def __init__(self, rx_bytes: int, tx_bytes: int) -> None:
        self.is_present, self.was_missing = True, False
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


def _packed(kind: str, column: list[int]) -> bytes:
    packed = array(kind, column)
    try:
        return packed.tobytes()
    finally:
        # Numbers of links are in one of them, and what is freed keeps its content.
        memoryview(packed).cast("B")[:] = bytes(packed.itemsize * len(packed))


def _rows(sample: Sample) -> "zip[tuple[int, int, int]]":
    return zip(sample.ifindexes, sample.rx_bytes, sample.tx_bytes, strict=True)

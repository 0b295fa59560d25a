"""Counters that reset and vanish to totals that only grow.

A link table holds the links of one network namespace. A link enters it by the first dump, by its
RTM_NEWLINK, or by the dump after an overrun; it leaves by its RTM_DELLINK, or by being absent from
the dump after an overrun. A dump in between moves counters and nothing else.

Invariants, for each link and direction, between entering and leaving:

- the total of its group has grown by what the counter has moved since the link entered;
- ``last`` is the newest counter that was added; a counter below it in a dump is a reset, and one
  below it in an event is older than the dump before it, or a link being dismantled: not added.

Events and dumps come over two sockets. A dump is applied with the set of links that an event
touched while it was under way: for those nobody knows which is newer, so the dump's word on them
is dropped and the next one holds their bytes. A link number that is used again is in that set.

A link whose name is not known yet is *unnamed*: its first counter is kept and its bytes wait
until a name says what they count towards.
"""

from collections.abc import Set as AbstractSet

from trafficd.accounting.classify import Group
from trafficd.links import LinkCounters, Sample
from trafficd.releases import Totals
from trafficd.rules import Role


class Tally:
    """The running total of one group; its links add to it."""

    __slots__ = ("rx_bytes", "tx_bytes")

    def __init__(self) -> None:
        self.rx_bytes = 0
        self.tx_bytes = 0


class Ledger:
    """The totals of every group, and a link table for each network namespace."""

    def __init__(self) -> None:
        self._tallies: dict[Group, Tally] = {}

    def open_table(self) -> "LinkTable":
        """Return the table of one more namespace, empty."""
        return LinkTable(self)

    def uplink(self) -> Totals:
        """Return what all uplinks moved."""
        return self._sum(Role.UPLINK)

    def tunnel(self) -> Totals:
        """Return what all tunnel links moved, those of classes no longer configured included."""
        return self._sum(Role.TUNNEL)

    def class_totals(self, class_name: str) -> Totals:
        """Return what the links of a class moved, whatever its population was at the time."""
        return self._sum(Role.TUNNEL, class_name)

    def tally(self, group: Group) -> Tally:
        """Return where the bytes of *group* are added."""
        return self._tallies.setdefault(group, Tally())

    def _sum(self, role: Role, class_name: str | None = None) -> Totals:
        tallies = [
            tally
            for group, tally in self._tallies.items()
            if group.role is role and class_name in (None, group.class_name)
        ]
        return Totals(sum(t.rx_bytes for t in tallies), sum(t.tx_bytes for t in tallies))


class LinkTable:
    """The links of one network namespace."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._links: dict[int, _Link] = {}

    @property
    def ifindexes(self) -> list[int]:
        """The links in the table."""
        return list(self._links)

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
                self._links[ifindex] = _Link(rx_bytes, tx_bytes, None)
        if is_whole:
            for ifindex in self._links.keys() - set(sample.ifindexes) - touched:
                del self._links[ifindex]

    def apply(self, sample: Sample, touched: AbstractSet[int] = frozenset()) -> None:
        """Add what the links moved by *sample*, but for those an event *touched* meanwhile."""
        links = self._links
        for ifindex, rx_bytes, tx_bytes in _rows(sample):
            link = links.get(ifindex)
            if link is None:
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
                received, sent = rx_bytes, tx_bytes
            tally.rx_bytes += received
            tally.tx_bytes += sent
            link.rx_bytes = rx_bytes
            link.tx_bytes = tx_bytes

    def change(self, ifindex: int, group: Group, counters: LinkCounters | None) -> None:
        """Apply an RTM_NEWLINK: a new link, or one that has perhaps another name and group now.

        A new link starts at the counters its message carries: they are not 0 for one that came
        from another namespace. Bytes moved before a change of group stay where they were counted.
        """
        link = self._links.get(ifindex)
        if link is None:
            if counters is not None:
                self._links[ifindex] = _Link(
                    counters.rx_bytes, counters.tx_bytes, self._tally(group)
                )
            return
        if (
            counters is not None
            and counters.rx_bytes >= link.rx_bytes
            and counters.tx_bytes >= link.tx_bytes
        ):
            link.move_to(counters.rx_bytes, counters.tx_bytes, link.tally or self._tally(group))
        link.tally = self._tally(group)

    def remove(self, ifindex: int, group: Group, counters: LinkCounters | None) -> None:
        """Apply an RTM_DELLINK; *group* counts only if the link had no name until now."""
        link = self._links.pop(ifindex, None)
        if link is not None and counters is not None:
            # A veth's final rx falls back to 0: its peer, which counted it, is gone already.
            link.move_to(
                max(link.rx_bytes, counters.rx_bytes),
                max(link.tx_bytes, counters.tx_bytes),
                link.tally or self._tally(group),
            )

    def _tally(self, group: Group) -> Tally:
        return self._ledger.tally(group)


class _Link:
    """The newest counters that were added, and where they were added; None while unnamed."""

    __slots__ = ("rx_bytes", "tally", "tx_bytes")

    def __init__(self, rx_bytes: int, tx_bytes: int, tally: Tally | None) -> None:
        self.rx_bytes = rx_bytes
        self.tx_bytes = tx_bytes
        self.tally = tally

    def move_to(self, rx_bytes: int, tx_bytes: int, tally: Tally) -> None:
        """Add what moved since the counters last seen to *tally*."""
        tally.rx_bytes += rx_bytes - self.rx_bytes
        tally.tx_bytes += tx_bytes - self.tx_bytes
        self.rx_bytes = rx_bytes
        self.tx_bytes = tx_bytes


def _rows(sample: Sample) -> "zip[tuple[int, int, int]]":
    return zip(sample.ifindexes, sample.rx_bytes, sample.tx_bytes, strict=True)

"""The totals of every group, the seats, and a link table for each network namespace."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from trafficd.accounting.classify import Group
from trafficd.accounting.seats import Seats
from trafficd.accounting.state import LedgerState
from trafficd.accounting.table import LinkTable, Tally
from trafficd.releases import Totals
from trafficd.rules import Population, Role


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
        self.tables: list[LinkTable] = []

    @classmethod
    def restored(cls, state: LedgerState) -> Self:
        """Return the ledger of *state*."""
        ledger = cls()
        for group, totals in state.groups:
            tally = ledger.tally(group)
            tally.rx_bytes, tally.tx_bytes = totals.rx_bytes, totals.tx_bytes
        groups = [group for group, _ in state.groups]
        ledger.tables = [LinkTable.restored(each, ledger.tally, groups) for each in state.tables]
        ledger._restore_seats(state)
        return ledger

    def state(self) -> LedgerState:
        """Return all that ``restored`` takes."""
        tables = tuple(table.state() for table in self.tables)
        return LedgerState(
            # Behind the tables, which may just have met a group for the first time.
            tuple(self.standing().groups.items()),
            self.node_seats.state(),
            {name: seats.state() for name, seats in self.class_seats.items()},
            tables,
        )

    def open_table(self) -> LinkTable:
        """Return the table of one more namespace, empty."""
        self.tables.append(LinkTable(self.tally))
        return self.tables[-1]

    def close_table(self, table: LinkTable) -> None:
        """Close every link of *table*, which nobody watches any more."""
        table.close()
        self.tables.remove(table)

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
        for table in self.tables:
            table.settle()

    def tally(self, group: Group) -> Tally:
        """Return where the bytes of *group* are added."""
        tally = self._tallies.get(group)
        if tally is None:
            is_session = group.role is Role.TUNNEL and group.population is Population.PER_SESSION
            seats = (self.node_seats, self.class_seats[group.class_name]) if is_session else None
            tally = self._tallies[group] = Tally(len(self._tallies), seats)
        return tally

    def _restore_seats(self, state: LedgerState) -> None:
        sat: dict[int, set[int]] = defaultdict(set)
        for table in self.tables:
            for of_node, of_class, link in table.sessions():
                sat[id(of_node)].add(link.node_seat)
                sat[id(of_class)].add(link.class_seat)
        self.node_seats.restore(state.node_seats, sat[id(self.node_seats)])
        for name, seats in state.class_seats.items():
            self.class_seats[name].restore(seats, sat[id(self.class_seats[name])])

"""The release rule: what of the ledger may be published at a grid point.

There are two cells, each published whole or not at all:

- the node cell: the totals of all uplinks and of all tunnel links; its one group is all tunnel
  links;
- the class cell: the totals of every class; every class is a group, and all have to pass. It is
  published only together with the node cell: the sum of all classes is the tunnel total, which the
  node cell would then have withheld in vain.

Totals are cumulative, so a cell that is withheld needs no carrying over: its pool goes on filling,
and the next release holds it. Until then its published totals stand still, and nothing says so.

A class that is no longer configured is not shown, but stays a group of the class cell until what it
moved last has passed: the tunnel total less all classes would tell it otherwise.

Published totals are rounded down; what rounding holds back comes with the next release.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trafficd.accounting.disclosure import Judgement, Pool, judge
from trafficd.accounting.ledger import Ledger, Standing
from trafficd.releases import Faults, Release, Totals, Utilisation
from trafficd.rules import Population, Role
from trafficd.schema import ROUNDING_BYTES, UTILISATION_PERIOD_SECONDS


@dataclass(frozen=True, slots=True)
class Decision:
    """A release, and why each cell passed or was held; only the release ever leaves the reader."""

    release: Release
    node: Judgement
    classes: Mapping[str, Judgement]
    releases_classes: bool


class Publisher:
    """The releases of one run: what was published last, and what is published next."""

    def __init__(
        self,
        *,
        classes: tuple[str, ...],
        capacity_bits_per_second: int,
        started_at: int,
        min_sessions: int,
    ) -> None:
        self._min_sessions = min_sessions
        self._classes = classes
        self._capacity_bits_per_second = capacity_bits_per_second
        # What had moved when each cell was last released.
        self._node_cell = Standing({})
        self._class_cell = Standing({})
        self.latest = self._release(0, started_at, Utilisation(), Faults())

    def reconfigure(self, *, classes: tuple[str, ...], capacity_bits_per_second: int) -> None:
        """Publish these classes and this capacity from the next release on."""
        self._classes = classes
        self._capacity_bits_per_second = capacity_bits_per_second

    def decide(
        self, at: int, ledger: Ledger, *, utilisation: Utilisation, faults: Faults
    ) -> Decision:
        """Decide, once, what is published at grid point *at*; what is released leaves its seats."""
        ledger.settle()
        now = ledger.standing()
        node = judge(_pool(now, self._node_cell), ledger.node_seats, fewest=self._min_sessions)
        classes = {
            name: judge(
                _pool(now, self._class_cell, name),
                ledger.class_seats[name],
                fewest=self._min_sessions,
            )
            for name in sorted({*self._classes, *now.class_names})
        }
        shown = self.latest.utilisation
        if node.passes:
            self._node_cell = now
            ledger.node_seats.empty()
            if at % UTILISATION_PERIOD_SECONDS == 0:
                shown = utilisation
        releases_classes = node.passes and all(each.passes for each in classes.values())
        if releases_classes:
            self._class_cell = now
            for seats in ledger.class_seats.values():
                seats.empty()
        self.latest = self._release(at, self.latest.started_at, shown, faults)
        return Decision(self.latest, node, classes, releases_classes)

    def _release(
        self, at: int, started_at: int, utilisation: Utilisation, faults: Faults
    ) -> Release:
        return Release(
            at=at,
            started_at=started_at,
            capacity_bits_per_second=self._capacity_bits_per_second,
            uplink=_rounded(self._node_cell.total(Role.UPLINK)),
            tunnel=_rounded(self._node_cell.total(Role.TUNNEL)),
            classes=tuple(
                (name, _rounded(self._class_cell.total(Role.TUNNEL, name)))
                for name in self._classes
            ),
            utilisation=utilisation,
            faults=faults,
        )


def _pool(now: Standing, released: Standing, class_name: str | None = None) -> Pool:
    """Return what the tunnel links of a class, or all of them, moved since their cell's release."""
    moved, shared = (
        _less(
            now.total(Role.TUNNEL, class_name, population),
            released.total(Role.TUNNEL, class_name, population),
        )
        for population in (None, Population.SHARED)
    )
    return Pool(moved, shared.rx_bytes + shared.tx_bytes)


def _less(now: Totals, before: Totals) -> Totals:
    return Totals(now.rx_bytes - before.rx_bytes, now.tx_bytes - before.tx_bytes)


def _rounded(totals: Totals) -> Totals:
    return Totals(
        totals.rx_bytes - totals.rx_bytes % ROUNDING_BYTES,
        totals.tx_bytes - totals.tx_bytes % ROUNDING_BYTES,
    )

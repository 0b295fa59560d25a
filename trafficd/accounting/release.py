"""The release rule: what of the ledger may be published at a grid point.

There are two cells, each published whole or not at all:

- the node cell: the totals of all uplinks and of all tunnel links; its one group is all tunnel
  links;
- the class cell: the totals of every class; every class is a group, and all have to pass.

The classes add up to the tunnel total, so neither cell may tell what the other withholds. The class
cell is published only together with the node cell. And the node cell is withheld where one class
moved all but nothing of the tunnel total and may not be told: totals only grow, so that a class
which stood still is known to have stood still once it is published.

Totals are cumulative, so a cell that is withheld needs no carrying over: its pool goes on filling,
and the next release holds it. Until then its published totals stand still, and nothing says so.

A class that is no longer configured is not shown, but stays a group of the class cell until what it
moved last has passed: the tunnel total less all classes would tell it otherwise.

Published totals are rounded down; what rounding holds back comes with the next release.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from trafficd.accounting.disclosure import Judgement, Pool, judge
from trafficd.accounting.ledger import Ledger, Standing
from trafficd.accounting.state import PublisherState
from trafficd.releases import Faults, Release, Totals, Utilisation
from trafficd.rules import Population, Role
from trafficd.schema import ROUNDING_BYTES, UTILISATION_PERIOD_SECONDS


@dataclass(frozen=True, slots=True)
class Decision:
    """A release, and why each cell passed or was held; only the release ever leaves the reader.

    *told_class* is the class for whose sake the node cell was held; empty if there is none.
    """

    release: Release
    node: Judgement
    classes: Mapping[str, Judgement]
    told_class: str
    releases_node: bool
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

    @classmethod
    def restored(
        cls,
        state: PublisherState,
        *,
        classes: tuple[str, ...],
        capacity_bits_per_second: int,
        min_sessions: int,
    ) -> Self:
        """Return the publisher of *state* under the configuration of now.

        Its latest release is that of *state*, where classes and capacity are as they were.
        """
        latest = state.latest
        publisher = cls(
            classes=classes,
            capacity_bits_per_second=capacity_bits_per_second,
            started_at=latest.started_at,
            min_sessions=min_sessions,
        )
        publisher._node_cell = Standing(dict(state.node_cell))
        publisher._class_cell = Standing(dict(state.class_cell))
        publisher.latest = publisher._release(
            latest.at, latest.started_at, latest.utilisation, latest.faults
        )
        return publisher

    def state(self) -> PublisherState:
        """Return all that ``restored`` takes."""
        return PublisherState(
            tuple(self._node_cell.groups.items()),
            tuple(self._class_cell.groups.items()),
            self.latest,
        )

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
        told_class = _class_that_the_tunnel_total_tells(classes)
        releases_node = node.passes and not told_class
        shown = self.latest.utilisation
        if releases_node:
            self._node_cell = now
            ledger.node_seats.empty()
            if at % UTILISATION_PERIOD_SECONDS == 0:
                shown = utilisation
        releases_classes = releases_node and all(each.passes for each in classes.values())
        if releases_classes:
            self._class_cell = now
            for seats in ledger.class_seats.values():
                seats.empty()
        self.latest = self._release(at, self.latest.started_at, shown, faults)
        return Decision(self.latest, node, classes, told_class, releases_node, releases_classes)

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


def _class_that_the_tunnel_total_tells(classes: Mapping[str, Judgement]) -> str:
    """Return the class that may not be told and that, in a direction, no other class hides."""
    for direction in ("rx_bytes", "tx_bytes"):
        moved = {
            name: getattr(judgement.pool.moved, direction) for name, judgement in classes.items()
        }
        for name, judgement in classes.items():
            others = sum(moved.values()) - moved[name]
            # Less than this is lost in the rounding of what is published.
            if moved[name] and not judgement.passes and others < ROUNDING_BYTES:
                return name
    return ""


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

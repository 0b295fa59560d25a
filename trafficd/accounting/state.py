"""What of a run outlives its process: the parts of a checkpoint, as plain values.

Each part is made by the class that it is the state of (``state``) and taken by it (``restored``).
Fields are only ever added, with a default, so that the state of an older version is read.

Shape: where a field is bytes, it is a column of numbers in host order: ifindexes, groups and seats
of 4 bytes, counters of 8; the columns of a table are of equal length. A state never leaves the host
it was written on.
"""

from msgspec import Struct

from trafficd.accounting.classify import Group
from trafficd.releases import Release, Totals, Utilisation


class SeatsState(Struct, frozen=True):
    """What is on each seat of a group."""

    rx_bytes: bytes
    tx_bytes: bytes


class TableState(Struct, frozen=True):
    """The links of a namespace: never a name.

    *groups* are places in LedgerState.groups, -1 where a link has no name yet.
    """

    ifindexes: bytes
    rx_bytes: bytes
    tx_bytes: bytes
    settled_rx_bytes: bytes
    settled_tx_bytes: bytes
    groups: bytes
    node_seats: bytes
    class_seats: bytes
    announced: dict[int, int]
    missing: tuple[int, ...]


class LedgerState(Struct, frozen=True):
    """The totals of every group, the seats, and the tables in the order of their opening."""

    groups: tuple[tuple[Group, Totals], ...]
    node_seats: SeatsState
    class_seats: dict[str, SeatsState]
    tables: tuple[TableState, ...]


class Edge(Struct, frozen=True):
    """One end of a slot: its instant, when it was really read, and the totals then."""

    at: int
    elapsed_seconds: float
    totals: Totals


class SlotsState(Struct, frozen=True):
    """The slot under way, which were asked for and counted, and the counts."""

    opened: Edge | None
    asked: int
    counted: tuple[int, ...]
    counts: Utilisation


class GridState(Struct, frozen=True):
    """Which grid points were decided, and when the last one was by the clock that is never set."""

    started_at: int
    decided: tuple[int, ...]
    decided_elapsed: float


class PublisherState(Struct, frozen=True):
    """What had moved when each cell was last released, and the release that said so."""

    node_cell: tuple[tuple[Group, Totals], ...]
    class_cell: tuple[tuple[Group, Totals], ...]
    latest: Release

"""What a checkpoint holds: all that a reader needs to go on as if it had never ended."""

from collections.abc import Sequence

import msgspec

from trafficd.accounting.state import GridState, LedgerState, PublisherState, SlotsState
from trafficd.releases import Faults


class SocketsState(msgspec.Struct, frozen=True):
    """Of a namespace: its name in the configuration, and what tells it and its socket from others.

    *drops* is how many events the kernel had dropped, for want of room, when the links were last
    read anew for it.
    """

    namespace: str
    namespace_cookie: int
    socket_cookie: int
    drops: int


class Checkpoint(msgspec.Struct, frozen=True):
    """The whole of a run; *sockets* are in the order of the ledger's tables.

    *kept* are the releases of the last 31 days, each as a frame without the zeros at its end;
    *configuration* is the text that the run is configured by.
    """

    boot_id: str
    sockets: tuple[SocketsState, ...]
    ledger: LedgerState
    grid: GridState
    slots: SlotsState
    publisher: PublisherState
    faults: Faults
    kept: Sequence[bytes]
    configuration: str

"""One run of totals: what is counted, decided and kept, from its first start to the next boot."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Self

from trafficd.accounting.ledger import Ledger
from trafficd.accounting.release import Publisher
from trafficd.accounting.slots import Slots
from trafficd.accounting.table import LinkTable
from trafficd.accounting.window import REMEMBERED_SECONDS, Grid
from trafficd.clock import Clock
from trafficd.config import AgentSettings
from trafficd.continuity.checkpoint import Checkpoint, SocketsState
from trafficd.continuity.keeper import Keeper
from trafficd.reader.faults import FaultCounter
from trafficd.wire.frame import trimmed


class Run:
    """The parts of a run; they outlive the process that counts, as checkpoints."""

    def __init__(self, settings: AgentSettings, clock: Clock) -> None:
        """Begin a run at 0."""
        self.is_resumed = False
        self.ledger = Ledger()
        self.grid = Grid(settings.window, clock.now(), speed=clock.speed)
        self.slots = Slots(speed=clock.speed)
        self.publisher = Publisher(
            classes=settings.classes,
            capacity_bits_per_second=settings.capacity_bits_per_second,
            started_at=self.grid.started_at,
            min_sessions=settings.release.min_sessions,
        )
        self.faults = FaultCounter()
        # Frames of what was released, without the zeros at their end.
        self._kept: deque[bytes] = deque(maxlen=REMEMBERED_SECONDS // settings.window)
        # The tables of before that nobody has claimed yet.
        self._unclaimed: list[tuple[SocketsState, LinkTable]] = []

    @classmethod
    def found(cls, keeper: Keeper, settings: AgentSettings, clock: Clock) -> Self:
        """Return the run that *keeper* has found, up to the last event logged, or a new one."""
        if keeper.found is None:
            return cls(settings, clock)
        run = cls._resumed(keeper.found, settings, clock)
        keeper.replay(run.ledger.tables)
        return run

    @classmethod
    def _resumed(cls, checkpoint: Checkpoint, settings: AgentSettings, clock: Clock) -> Self:
        """Return the run of *checkpoint* under the configuration of now."""
        run = cls(settings, clock)
        run.is_resumed = True
        run.ledger = Ledger.restored(checkpoint.ledger)
        run.grid = Grid.restored(checkpoint.grid, settings.window, clock.now(), speed=clock.speed)
        run.slots = Slots.restored(checkpoint.slots, speed=clock.speed)
        run.publisher = Publisher.restored(
            checkpoint.publisher,
            classes=settings.classes,
            capacity_bits_per_second=settings.capacity_bits_per_second,
            min_sessions=settings.release.min_sessions,
        )
        run.faults = FaultCounter(checkpoint.faults)
        run._kept.extend(checkpoint.kept)
        run._unclaimed = list(zip(checkpoint.sockets, run.ledger.tables, strict=True))
        return run

    def claim(self, sockets: SocketsState) -> tuple[LinkTable, SocketsState | None]:
        """Return the table of the namespace behind *sockets*, and what its sockets were before.

        A namespace that was made anew under an old name has other links.
        """
        for each in self._unclaimed:
            before, table = each
            if (before.namespace, before.namespace_cookie) == (
                sockets.namespace,
                sockets.namespace_cookie,
            ):
                self._unclaimed.remove(each)
                return table, before
        return self.ledger.open_table(), None

    def close_unclaimed(self) -> None:
        """Close the links of the namespaces that are not read any more."""
        for _, table in self._unclaimed:
            self.ledger.close_table(table)
        self._unclaimed.clear()

    def number(self, table: LinkTable) -> int:
        """Return the place of *table* among those of the ledger."""
        return self.ledger.tables.index(table)

    def keep_release(self, frame: bytes) -> None:
        """Keep what is released, for exporters that come later."""
        self._kept.append(trimmed(frame))

    def past(self) -> Iterator[bytes]:
        """Yield the releases before the latest, oldest first, as *trimmed* frames."""
        return islice(self._kept, max(0, len(self._kept) - 1))

    def checkpoint(
        self, boot_id: str, sockets: Sequence[SocketsState], configuration: str
    ) -> Checkpoint:
        """Return the whole of it, with the *sockets* it is read from."""
        return Checkpoint(
            boot_id=boot_id,
            sockets=tuple(sockets),
            ledger=self.ledger.state(),
            grid=self.grid.state(),
            slots=self.slots.state(),
            publisher=self.publisher.state(),
            faults=self.faults.faults(),
            kept=tuple(self._kept),
            configuration=configuration,
        )

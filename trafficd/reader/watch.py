"""One network namespace under watch: its events and dumps, applied to its link table."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from trafficd.accounting.classify import Classifier, Group
from trafficd.accounting.table import LinkTable
from trafficd.accounting.touched import Touched
from trafficd.errors import EventsOverrunError
from trafficd.kernel.dump import LinkReader
from trafficd.kernel.events import EventSocket
from trafficd.links import LinkChanged, LinkEvent
from trafficd.reader.faults import FaultCounter

# Called with an event and the group of its link.
Log = Callable[[LinkEvent, Group], object]

# Events applied before the loop gets its turn: a storm must not keep a grid point waiting.
_EVENTS_A_TURN = 512
# Where links come and go under every dump, one that is not whole has to do.
_TRIES_FOR_A_WHOLE_DUMP = 5


def _nothing(_event: LinkEvent, _group: Group) -> None:
    pass


class NamespaceWatch:
    """Keeps one link table true.

    ``follow`` applies events as they come. ``sample``, ``resynchronise`` and ``reclassify`` ask the
    kernel and are called one at a time; each notes which links events touch while it waits, so that
    of two answers the newer one counts (see accounting/table.py).
    """

    def __init__(
        self,
        namespace: str,
        events: EventSocket,
        reader: LinkReader,
        table: LinkTable,
        classifier: Classifier,
        faults: FaultCounter,
        log: Log = _nothing,
    ) -> None:
        """Watch *namespace*; *log* is told of each event before the table is."""
        self._namespace = namespace
        self._events = events
        self._reader = reader
        self._table = table
        self._faults = faults
        self._log = log
        self._drops = events.told_drops
        self._touched = Touched()
        self._has_overrun = False
        self._wants_dump = asyncio.Event()
        self.classifier = classifier

    @property
    def drops(self) -> int:
        """How many events the kernel had dropped when the links were last read anew for it."""
        return self._drops

    async def resume(self, drops: int, *, is_gap: bool) -> None:
        """Go on with a table of before, and with what has been queued since.

        *drops* is what it was then; *is_gap* says that the queue is not the one of then.
        """
        if is_gap:
            self._faults.gaps += 1
            self._has_overrun = True
        else:
            self._events.told_drops = drops
        self._drain()
        await self.sample()

    async def start(self) -> None:
        """Begin with the links that are there now; what was queued before is not this run's.

        They have no names yet, and their bytes wait for them until ``reclassify``.
        """
        with contextlib.suppress(EventsOverrunError):
            for _ in self._events.drain():
                pass
        await self._read_links()

    def follow(self) -> None:
        """Apply events whenever there are any, from now on."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._events.fileno(), self._drain, _EVENTS_A_TURN)

    def close(self) -> None:
        """Stop following and close both sockets."""
        asyncio.get_running_loop().remove_reader(self._events.fileno())
        self._events.close()
        self._reader.close()

    async def wants_dump(self) -> None:
        """Return when events were lost, or a link came whose counters only a dump can tell."""
        await self._wants_dump.wait()

    async def sample(self) -> None:
        """Add what every link moved until now; after an overrun, read the links anew."""
        if self._has_overrun:
            await self.resynchronise()
            return
        self._drain()
        self._begin_dump()
        dump = await self._reader.dump()
        self._faults.malformed += dump.malformed
        self._drain()
        unknown = self._table.apply(dump.sample, self._touched, is_whole=dump.is_whole)
        dump.sample.wipe()
        if unknown:
            await self._ask_names(unknown)

    async def resynchronise(self) -> None:
        """Make the table hold the links that the kernel has, under the names it has for them."""
        await self._read_links()
        await self.reclassify()

    async def _read_links(self) -> None:
        for _ in range(_TRIES_FOR_A_WHOLE_DUMP):
            self._drain()
            self._has_overrun = False
            drops = self._events.told_drops
            self._begin_dump()
            dump = await self._reader.dump()
            self._faults.malformed += dump.malformed
            self._drain()
            if dump.is_whole and not self._has_overrun:
                break
        self._drops = drops
        self._table.resynchronise(dump.sample, self._touched, is_whole=dump.is_whole)
        dump.sample.wipe()

    async def reclassify(self) -> None:
        """Ask for every link's name and count its bytes from now on as the rules say."""
        await self._ask_names(self._table.ifindexes)

    async def _ask_names(self, ifindexes: Sequence[int]) -> None:
        self._touched.clear()
        async for links in self._reader.names(ifindexes):
            self._drain()
            for link in links:
                if link.ifindex not in self._touched:
                    self._apply(link)

    def _begin_dump(self) -> None:
        """Note what events touch from now on; who asks for a dump from now on wants another one."""
        self._touched.clear()
        self._wants_dump.clear()

    def _drain(self, most: int | None = None) -> None:
        try:
            self._apply_queued(most)
        except EventsOverrunError:
            # One storm is one overrun, until the links have been read anew.
            self._faults.overruns += not self._has_overrun
            self._has_overrun = True
            self._wants_dump.set()

    def _apply_queued(self, most: int | None) -> None:
        for decoded in self._events.drain(most):
            self._faults.malformed += decoded.malformed
            for event in decoded.events:
                self._touched.add(event.ifindex)
                try:
                    self._apply(event)
                except Exception:
                    # It is in the queue still: whoever does not go on would meet it for ever.
                    self._faults.malformed += 1

    def _apply(self, event: LinkEvent) -> None:
        group = self.classifier.group(self._namespace, event.identity)
        self._log(event, group)
        if isinstance(event, LinkChanged):
            self._table.change(event.ifindex, group, event.counters)
            if event.counters is None and self._table.awaits_dump:
                self._wants_dump.set()
        else:
            self._table.remove(event.ifindex, group, event.counters)

"""The reader: where its parts meet."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from trafficd.accounting.classify import Classifier
from trafficd.accounting.ledger import Ledger
from trafficd.accounting.release import Publisher
from trafficd.accounting.slots import Slots
from trafficd.accounting.window import Grid
from trafficd.clock import Clock, Moment
from trafficd.config import AgentSettings
from trafficd.errors import ConfigError
from trafficd.kernel.dump import LinkReader
from trafficd.kernel.events import EventSocket
from trafficd.kernel.sockets import LinkSockets
from trafficd.log import Message, say
from trafficd.reader.faults import FaultCounter
from trafficd.reader.handoff import Handoff
from trafficd.reader.watch import NamespaceWatch
from trafficd.service.lifecycle import Worker, run_until, stop_on_signals
from trafficd.service.lifeline import Lifeline

# Often enough that a counter which a driver resets loses little; a sample of 10,000 links costs
# some 15 ms.
SAMPLE_SECONDS = 10.0
# A clock that runs fast does not make the machine faster.
_FASTEST_SAMPLE_SECONDS = 0.1
# Dumps that links ask for, lest a storm of them takes a core: those announced meanwhile share one.
_BETWEEN_ASKED_DUMPS_SECONDS = 0.2

Reread = Callable[[], AgentSettings]
Lock = Callable[[], object]


async def run_reader(
    settings: AgentSettings,
    *,
    links: list[LinkSockets],
    exporter: socket.socket,
    clock: Clock,
    reread: Reread,
    lock: Lock,
    lifeline: Lifeline | None = None,
) -> None:
    """Count until SIGTERM or the end of *lifeline*; *reread* is the configuration, on SIGHUP.

    *lock* is called once, when everything is open and nothing of the kernel is read yet.
    Raises: SandboxError, KernelRefusedError, HalfEndedError.
    """
    stop = asyncio.Event()
    stop_on_signals(stop, lifeline)
    async with AsyncExitStack() as ladder:
        reader = Reader(settings, links=links, exporter=exporter, clock=clock, reread=reread)
        ladder.callback(reader.close)
        lock()
        await reader.start()
        await run_until(stop, reader.workers())
    say(Message.READER_STOPPED)


class Reader:
    """One run of totals: the ledger, the watches that feed it, and the releases made of it."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        links: list[LinkSockets],
        exporter: socket.socket,
        clock: Clock,
        reread: Reread,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._reread = reread
        self._faults = FaultCounter()
        self._ledger = Ledger()
        self._grid = Grid(settings.window, clock.now(), speed=clock.speed)
        self._slots = Slots(speed=clock.speed)
        self._overruns_seen = 0
        self._capacity_bits_per_second = settings.capacity_bits_per_second
        self._publisher = Publisher(
            classes=settings.classes,
            capacity_bits_per_second=settings.capacity_bits_per_second,
            started_at=self._grid.started_at,
            min_sessions=settings.release.min_sessions,
        )
        self._handoff = Handoff(exporter)
        classifier = Classifier(settings.links)
        self._watches = [
            NamespaceWatch(
                each.namespace,
                EventSocket(each.events),
                LinkReader(each.dumps),
                self._ledger.open_table(),
                classifier,
                self._faults,
            )
            for each in links
        ]
        # A sample, a resynchronisation and a change of rules each need the tables to themselves.
        self._asking = asyncio.Lock()
        self._hangup = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup.set)

    async def start(self) -> None:
        """Take the baseline of all links and show the exporter a page of zeros."""
        for watch in self._watches:
            await watch.start()
            watch.follow()
        self._handoff.send(self._publisher.latest)
        say(Message.READER_READY, instant=self._grid.next_due(self._clock.now()))

    def workers(self) -> dict[str, Worker]:
        """Return what runs side by side from the start on."""
        followers = {
            f"links of namespace {number}": partial(self._know_links, watch)
            for number, watch in enumerate(self._watches)
        }
        return {"windows": self._close_windows, "rules": self._reread_rules, **followers}

    def close(self) -> None:
        """Close every socket."""
        for watch in self._watches:
            watch.close()
        self._handoff.close()

    async def _close_windows(self) -> None:
        """Sample on the beat, at each edge of a slot and at each grid point, for ever."""
        interval = max(SAMPLE_SECONDS, _FASTEST_SAMPLE_SECONDS * self._clock.speed)
        beat = self._clock.now().elapsed_seconds + interval
        while True:
            now = self._clock.now()
            to_next = min(self._grid.seconds_to_next(now), self._slots.seconds_to_next(now))
            await self._clock.sleep(max(0.0, min(beat - now.elapsed_seconds, to_next)))
            now = self._clock.now()
            point, edge = self._grid.due(now), self._slots.due(now)
            if point is None and edge is None and now.elapsed_seconds < beat:
                continue
            while beat <= now.elapsed_seconds:
                beat += interval
            async with self._asking:
                for watch in self._watches:
                    await watch.sample()
            # The kernel, or who had the tables before, may have kept us: what moved meanwhile is
            # published only if it still belongs to the grid point.
            now = self._clock.now()
            if edge is not None:
                self._turn_slot(edge, now)
            if point is not None and self._grid.due(now) == point:
                self._grid.decided(point, now)
                self._release(point)

    def _turn_slot(self, edge: int, now: Moment) -> None:
        overruns = self._faults.overruns
        if overruns > self._overruns_seen:
            self._overruns_seen = overruns
            self._slots.spoil()
        self._slots.turn(edge, now, self._ledger.rated_uplink(), self._capacity_bits_per_second)

    def _release(self, point: int) -> None:
        before, after = self._publisher.latest.faults, self._faults.faults()
        decision = self._publisher.decide(
            point, self._ledger, utilisation=self._slots.utilisation(), faults=after
        )
        self._handoff.send(decision.release)
        # Only now: the moment of a storm of links is not for the log.
        if after.overruns > before.overruns:
            say(Message.OVERRUN)
        if after.malformed > before.malformed:
            say(Message.MALFORMED)

    async def _know_links(self, watch: NamespaceWatch) -> None:
        """Ask for the links' names, and dump when only a dump can tell what is there, for ever."""
        async with self._asking:
            await watch.reclassify()
            # What the uplinks moved before their names were known was not seen as theirs.
            self._slots.spoil()
        while True:
            await watch.wants_dump()
            async with self._asking:
                await watch.sample()
            await asyncio.sleep(_BETWEEN_ASKED_DUMPS_SECONDS)

    async def _reread_rules(self) -> None:
        """Apply the link rules of the file anew on each SIGHUP, for ever; survives a bad file."""
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            try:
                settings = self._reread()
            except ConfigError:
                say(Message.RULES_REFUSED)
                continue
            async with self._asking:
                await self._apply_rules(settings)
            say(Message.RULES_REREAD)
            if msgspec.structs.replace(settings, links=self._settings.links) != self._settings:
                say(Message.RESTART_NEEDED)

    async def _apply_rules(self, settings: AgentSettings) -> None:
        self._publisher.reconfigure(
            classes=settings.classes, capacity_bits_per_second=settings.capacity_bits_per_second
        )
        self._capacity_bits_per_second = settings.capacity_bits_per_second
        self._slots.spoil()
        classifier = Classifier(settings.links)
        for watch in self._watches:
            await watch.sample()
            watch.classifier = classifier
            await watch.reclassify()

"""The reader: where its parts meet."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import msgspec

from trafficd.accounting.classify import Classifier, Group
from trafficd.clock import Clock, Moment
from trafficd.config import AgentSettings
from trafficd.continuity.keeper import Keeper
from trafficd.errors import ConfigError, RenewalNeededError
from trafficd.kernel.dump import LinkReader
from trafficd.kernel.events import EventSocket
from trafficd.kernel.sockets import LinkSockets
from trafficd.links import LinkEvent
from trafficd.log import Message, say
from trafficd.reader.configuration import Configuration
from trafficd.reader.handoff import Handoff
from trafficd.reader.run import Run
from trafficd.reader.source import Source
from trafficd.reader.watch import NamespaceWatch
from trafficd.service.lifecycle import Worker, run_until, stop_on_signals
from trafficd.service.lifeline import Lifeline
from trafficd.service.notify import ServiceManager, reader_status
from trafficd.wire.frame import encode_frame

# Often enough that a counter which a driver resets loses little; a sample of 10,000 links costs
# some 15 ms.
SAMPLE_SECONDS = 10.0
# A clock that runs fast does not make the machine faster.
_FASTEST_SAMPLE_SECONDS = 0.1
# Dumps that links ask for, lest a storm of them takes a core: those announced meanwhile share one.
_BETWEEN_ASKED_DUMPS_SECONDS = 0.2

Lock = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a reader works with.

    *releases* listens, and an exporter connects to it. *needs_renewal* says that a netlink socket
    carries the filter of another version.
    """

    links: list[LinkSockets]
    releases: socket.socket
    clock: Clock
    keeper: Keeper
    lifeline: Lifeline
    manager: ServiceManager
    needs_renewal: bool = False


async def run_reader(configuration: Configuration, given: Surroundings, *, lock: Lock) -> None:
    """Count until SIGTERM or the end of the lifeline.

    *lock* is called once, when everything is open and nothing of the kernel is read yet.
    Raises: SandboxError, KernelRefusedError; RenewalNeededError once all is counted that can be.
    """
    stop = asyncio.Event()
    stop_on_signals(stop, given.lifeline)
    async with AsyncExitStack() as ladder:
        reader = Reader(configuration, given)
        ladder.callback(reader.close)
        lock()
        await reader.start()
        if given.needs_renewal:
            say(Message.RENEWAL)
            raise RenewalNeededError("reader: all is counted; restart the socket unit")
        await run_until(stop, reader.workers())
    say(Message.READER_STOPPED)


class Reader:
    """A run of totals, the watches that feed it, and the releases made of it."""

    def __init__(self, configuration: Configuration, given: Surroundings) -> None:
        self._configuration = configuration
        self._started_with = settings = configuration.settings
        self._clock = given.clock
        self._keeper = given.keeper
        self._lifeline = given.lifeline
        self._manager = given.manager
        self._run = Run.found(given.keeper, settings, given.clock)
        self._blind_times = self._run.faults.blind_times
        self._capacity_bits_per_second = settings.capacity_bits_per_second
        self._handoff = Handoff(given.releases, self._run.past)
        self._sources = [Source(self._run, each) for each in given.links]
        self._run.close_unclaimed()
        classifier = Classifier(settings.links)
        self._watches = [
            NamespaceWatch(
                each.namespace,
                EventSocket(each.events),
                LinkReader(each.dumps),
                source.table,
                classifier,
                self._run.faults,
                partial(self._log, self._run.number(source.table)),
            )
            for each, source in zip(given.links, self._sources, strict=True)
        ]
        # A sample, a resynchronisation and a change of rules each need the tables to themselves.
        self._asking = asyncio.Lock()
        self._hangup = asyncio.Event()
        self._is_kept = True
        given.lifeline.tell(self._hangup.set)

    async def start(self) -> None:
        """Go on with what was kept, or take the baseline of all links."""
        gaps = self._run.faults.gaps
        if self._run.is_resumed:
            # Tables may have come and gone with the configuration; the log counts them.
            self._keep()
        for watch, source in zip(self._watches, self._sources, strict=True):
            if source.before is None:
                await watch.start()
            else:
                await watch.resume(source.before.drops, is_gap=source.is_gap)
            source.before = None
            watch.follow()
        self._keep()
        self._handoff.start(encode_frame(self._run.publisher.latest))
        say(Message.RESUMED if self._run.is_resumed else Message.NEW_RUN)
        if self._run.faults.gaps > gaps:
            say(Message.GAP)
        if self._configuration.is_refused:
            say(Message.CONFIG_REFUSED)
        say(Message.READER_READY, instant=self._run.grid.next_due(self._clock.now()))
        self._manager.ready(self._status())

    def workers(self) -> dict[str, Worker]:
        """Return what runs side by side from the start on."""
        workers: dict[str, Worker] = {"windows": self._close_windows, "rules": self._reread_rules}
        for number, watch in enumerate(self._watches):
            workers[f"links of namespace {number}"] = partial(self._know_links, watch)
        if self._manager.watchdog_seconds:
            workers["watchdog"] = self._manager.keep_alive
        return workers

    def close(self) -> None:
        """Close every socket."""
        for watch in self._watches:
            watch.close()
        self._handoff.close()
        self._manager.close()

    async def _close_windows(self) -> None:
        """Sample on the beat, at each edge of a slot and at each grid point, for ever."""
        grid, slots = self._run.grid, self._run.slots
        interval = max(SAMPLE_SECONDS, _FASTEST_SAMPLE_SECONDS * self._clock.speed)
        beat = self._clock.now().elapsed_seconds + interval
        while True:
            now = self._clock.now()
            to_next = min(grid.seconds_to_next(now), slots.seconds_to_next(now))
            await self._clock.sleep(max(0.0, min(beat - now.elapsed_seconds, to_next)))
            now = self._clock.now()
            point, edge = grid.due(now), slots.due(now)
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
            if point is not None and grid.due(now) == point:
                grid.decided(point, now)
                self._release(point)
            else:
                self._keep()
            self._manager.status(self._status())

    def _turn_slot(self, edge: int, now: Moment) -> None:
        blind_times = self._run.faults.blind_times
        if blind_times > self._blind_times:
            self._blind_times = blind_times
            self._run.slots.spoil()
        uplink = self._run.ledger.rated_uplink()
        self._run.slots.turn(edge, now, uplink, self._capacity_bits_per_second)

    def _release(self, point: int) -> None:
        publisher = self._run.publisher
        before, after = publisher.latest.faults, self._run.faults.faults()
        utilisation = self._run.slots.utilisation()
        decision = publisher.decide(point, self._run.ledger, utilisation=utilisation, faults=after)
        frame = encode_frame(decision.release)
        self._run.keep_release(frame)
        # Before it is handed out: a successor hands out the same, whenever this process ends.
        self._keep()
        self._handoff.send(frame)
        # Only now: the moment of a storm of links is not for the log.
        if after.overruns > before.overruns:
            say(Message.OVERRUN)
        if after.malformed > before.malformed:
            say(Message.MALFORMED)

    async def _know_links(self, watch: NamespaceWatch) -> None:
        """Ask for the links' names, and dump when only a dump can tell what is there, for ever."""
        async with self._asking:
            await watch.reclassify()
            if not self._run.is_resumed:
                # What the uplinks moved before their names were known was not seen as theirs.
                self._run.slots.spoil()
        while True:
            await watch.wants_dump()
            async with self._asking:
                await watch.sample()
            self._keep()
            await asyncio.sleep(_BETWEEN_ASKED_DUMPS_SECONDS)

    async def _reread_rules(self) -> None:
        """Apply the link rules of each text that comes down, for ever; survives a bad one."""
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            try:
                settings = self._configuration.reread(self._lifeline)
            except ConfigError:
                say(Message.RULES_REFUSED)
                self._manager.status(self._status())
                continue
            async with self._asking:
                await self._apply_rules(settings)
            self._keep()
            self._manager.status(self._status())
            say(Message.RULES_REREAD)
            if msgspec.structs.replace(settings, links=self._started_with.links) != (
                self._started_with
            ):
                say(Message.RESTART_NEEDED)

    async def _apply_rules(self, settings: AgentSettings) -> None:
        self._run.publisher.reconfigure(
            classes=settings.classes, capacity_bits_per_second=settings.capacity_bits_per_second
        )
        self._capacity_bits_per_second = settings.capacity_bits_per_second
        self._run.slots.spoil()
        classifier = Classifier(settings.links)
        for watch in self._watches:
            await watch.sample()
            watch.classifier = classifier
            await watch.reclassify()

    def _log(self, table: int, event: LinkEvent, group: Group) -> None:
        """Note an event before it is applied; a log that is full gives way to a checkpoint."""
        if not self._keeper.log(table, event, group):
            self._keep()
            self._keeper.log(table, event, group)

    def _keep(self) -> None:
        """Have a successor go on from here."""
        states = {
            self._run.number(source.table): source.state(watch.drops)
            for watch, source in zip(self._watches, self._sources, strict=True)
        }
        sockets = [states[number] for number in sorted(states)]
        boot_id, text = self._keeper.boot_id, self._configuration.text
        is_kept = self._keeper.keep(self._run.checkpoint(boot_id, sockets, text))
        if self._is_kept and not is_kept:
            say(Message.STATE_FULL)
        self._is_kept = is_kept

    def _status(self) -> str:
        return reader_status(
            self._started_with.window,
            self._run.grid.next_due(self._clock.now()),
            is_refused=self._configuration.is_refused,
        )

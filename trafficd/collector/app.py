"""The collector: where its parts meet."""

import asyncio
import resource
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from trafficd.clock import Clock
from trafficd.collector.calls import Calls
from trafficd.collector.config import CollectorSettings
from trafficd.collector.credentials import Credentials, Entry
from trafficd.collector.fleet import Fleet
from trafficd.collector.http import BACKLOG, CollectorServer
from trafficd.collector.ingest import Ingest
from trafficd.collector.metrics import MetricsPage
from trafficd.collector.planner import Planner
from trafficd.collector.reception import Reception
from trafficd.collector.retention import Kept
from trafficd.collector.site import Site
from trafficd.collector.slices import Slice
from trafficd.collector.store import Store
from trafficd.collector.writer import Arrival, Writer
from trafficd.errors import ConfigError, StoreFullError, TrafficdError
from trafficd.log import Message, say
from trafficd.series import Series
from trafficd.service.lifecycle import Worker, run_until, stop_on_signals
from trafficd.service.listeners import open_listeners
from trafficd.service.notify import ServiceManager
from trafficd.service.web_config import WebConfig, load_web_config

# A node that was added or revoked by the command is known after this.
_LOOK_FOR_NODES_SECONDS = 1.0
# A renewed certificate is served this long after it was written, at the latest.
_LOOK_FOR_WEB_CONFIG_SECONDS = 5.0
# Counting the fleet anew reads what every node said last.
_COUNT_ANEW_SECONDS = 60.0
# Between steps of retention, each of some milliseconds, messages have the store to themselves.
_STEP_SECONDS, _REST_SECONDS = 0.05, 60.0
# The most that may be connected; nodes come and go within minutes.
_MOST_CONNECTIONS = 8192
# Those of the store, of the listeners, of the library; and of scrapers.
_OTHER_DESCRIPTORS = 512
_WORKING = "taking releases"
_FULL = "no room for releases; nodes keep them and try again"


async def run_collector(settings: CollectorSettings, manager: ServiceManager, clock: Clock) -> None:
    """Take releases, keep them and show them, until SIGTERM.

    Raises: TrafficdError if an address, the database or the web config cannot be had.
    """
    stop = asyncio.Event()
    stop_on_signals(stop)
    async with AsyncExitStack() as ladder:
        ladder.callback(manager.close)
        store = ladder.enter_context(closing(Store(Path(settings.database))))
        # The call under way ends before the store is closed under it.
        calls = ladder.enter_context(closing(Calls()))
        listeners = open_listeners(settings.listen, key="listen", backlog=BACKLOG)
        collector = _Collector(settings, listeners, store, calls, manager, clock)
        ladder.push_async_callback(collector.planner.close)
        ladder.push_async_callback(collector.server.close)
        await collector.begin()
        for address in settings.listen:
            say(Message.COLLECTOR_READY, address=address)
        manager.ready(_WORKING)
        await run_until(stop, collector.workers())
    say(Message.COLLECTOR_STOPPED)


class _Collector:
    """The workers of the collector and what they share."""

    def __init__(
        self,
        settings: CollectorSettings,
        listeners: Sequence[socket.socket],
        store: Store,
        calls: Calls,
        manager: ServiceManager,
        clock: Clock,
    ) -> None:
        retention = settings.retention
        self._kept = Kept(
            None if retention.raw is None else retention.raw.days,
            None if retention.daily is None else retention.daily.days,
        )
        self._web_config_file = None if settings.web_config is None else Path(settings.web_config)
        self._web_config = WebConfig.nothing()
        self._look = asyncio.Event()
        self._store = store
        self._calls = calls
        self._manager = manager
        self._clock = clock
        self._credentials = Credentials()
        self._fleet = Fleet()
        self._counted_at = 0.0
        self._writer = Writer(self._append, self._fleet.keep)
        reception = Reception(self._credentials, Ingest(), self._writer, clock)
        database = Path(settings.database)
        self.planner = Planner(database, settings.planning, clock)
        page = MetricsPage(
            self._fleet,
            reception.results,
            lambda: _size_bytes(database),
            lambda: self.planner.latest,
            clock,
        )
        self.server = CollectorServer(
            listeners,
            reception,
            page,
            Site(self.planner),
            lambda: not self._writer.is_full,
            clock,
            most_connections=_room_for_connections(),
        )

    async def begin(self) -> None:
        """Read what there is, and serve."""
        # Without a web config there is nothing to reread, and no reason to end either.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._look.set)
        await self._look_for_nodes()
        await self._count_anew()
        if self._web_config_file is not None:
            try:
                self._web_config = load_web_config(self._web_config_file)
            except ConfigError as error:
                raise TrafficdError(str(error)) from error
        await self.server.start(self._web_config)

    def workers(self) -> dict[str, Worker]:
        """Return what runs side by side."""
        workers: dict[str, Worker] = {
            "releases": self._writer.run,
            "nodes": self._follow_nodes,
            "retention": self._tidy,
            "silence": self.server.sweep,
            "plan": self.planner.follow,
        }
        if self._web_config_file is not None:
            workers["web config"] = partial(self._follow_web_config, self._web_config_file)
        if self._manager.watchdog_seconds:
            workers["watchdog"] = self._manager.keep_alive
        return workers

    async def _append(self, batch: Sequence[Arrival]) -> list[str | None]:
        return await self._calls.call(self._store.append, batch)

    async def _follow_nodes(self) -> NoReturn:
        """Know of nodes that the command adds and revokes, and count anew what is unclear."""
        while True:
            await asyncio.sleep(_LOOK_FOR_NODES_SECONDS)
            await self._look_for_nodes()
            now = self._clock.now().elapsed_seconds
            if self._fleet.is_unclear and now - self._counted_at >= _COUNT_ANEW_SECONDS:
                await self._count_anew()
            self._manager.status(_FULL if self._writer.is_full else _WORKING)

    async def _look_for_nodes(self) -> None:
        if not await self._calls.call(self._store.nodes_changed):
            return
        known = await self._calls.call(self._store.nodes)
        self._credentials.replace(
            Entry(each.node, each.token_hash, is_revoked=each.revoked_at is not None)
            for each in known
        )
        self._fleet.know((each.node, each.added_at, each.revoked_at is None) for each in known)

    async def _count_anew(self) -> None:
        self._counted_at = self._clock.now().elapsed_seconds
        latest, carried = await self._calls.call(_standings, self._store)
        self._fleet.count_anew(latest, carried)

    async def _tidy(self) -> NoReturn:
        """Sum up days and delete what is too old, a step at a time, for ever."""
        while True:
            try:
                now = self._clock.now().utc_seconds
                has_more = await self._calls.call(self._store.tidy, now, self._kept)
            except StoreFullError:
                has_more = False
            await asyncio.sleep(_STEP_SECONDS if has_more else _REST_SECONDS)

    async def _follow_web_config(self, file: Path) -> NoReturn:
        """Reread the web config whenever one of its files changed, for ever; survives bad files."""
        refused: object = None
        while True:
            try:
                async with asyncio.timeout(_LOOK_FOR_WEB_CONFIG_SECONDS):
                    await self._look.wait()
            except TimeoutError:
                pass  # nobody asked; looking anyway is what the time is for
            self._look.clear()
            if not self._web_config.is_stale():
                continue
            try:
                self._web_config = load_web_config(file)
            except ConfigError as error:
                # Once for each kind of damage, not at every look.
                if refused != error.mistakes:
                    say(Message.COLLECTOR_WEB_CONFIG_REFUSED)
                refused = error.mistakes
                continue
            refused = None
            await self.server.start(self._web_config)
            say(Message.COLLECTOR_WEB_CONFIG_REREAD)


_Standings = tuple[list[tuple[int, Slice]], list[tuple[int, Mapping[Series, float]]]]


def _standings(store: Store) -> _Standings:
    """Return what every node said last, and what its earlier runs ended with."""
    return (
        [(node.number, slice_) for node, slice_ in store.latest()],
        [(node.number, ended) for node, ended in store.carried()],
    )


def _size_bytes(database: Path) -> int:
    """Return the size of the database and of the log beside it."""
    size = 0
    for file in (database, database.with_name(f"{database.name}-wal")):
        # The log comes and goes.
        with suppress(FileNotFoundError):
            size += file.stat().st_size
    return size


def _room_for_connections() -> int:
    """Return how many connections there may be, with as many descriptors as we can have."""
    wanted = _MOST_CONNECTIONS + _OTHER_DESCRIPTORS
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        raised = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, most))
        allowed = raised
    if allowed == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return min(_MOST_CONNECTIONS, allowed - min(_OTHER_DESCRIPTORS, allowed // 2))

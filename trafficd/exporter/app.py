"""The exporter: where its parts meet."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from trafficd.config import MetricsSettings
from trafficd.errors import ConfigError, TrafficdError
from trafficd.exporter.destinations import Destinations, Pushing
from trafficd.exporter.http import MetricsServer, open_listeners
from trafficd.exporter.intake import Classes, Intake
from trafficd.log import Message, say
from trafficd.sandbox.apply import WayOut
from trafficd.service.lifecycle import Worker, run_until, stop_on_signals
from trafficd.service.lifeline import Lifeline
from trafficd.service.notify import ServiceManager, exporter_status
from trafficd.service.web_config import WebConfig, load_web_config
from trafficd.units import ListenAddress

# A renewed certificate is served this long after it was written, at the latest.
_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an exporter works with.

    *classes* returns the classes configured by now. *listeners* are those that were handed over for
    /metrics; without any, the configured addresses are listened on. *pushing* says to whom releases
    are pushed.
    """

    reader: socket.socket
    classes: Classes
    lifeline: Lifeline
    manager: ServiceManager
    listeners: Sequence[socket.socket] = ()
    pushing: Pushing = field(default_factory=Pushing.nobody)


class Lock(Protocol):
    """Locks the exporter."""

    def __call__(self, *, readable: Sequence[Path] | None, way_out: WayOut | None) -> object:
        """Lock; a web config is read anew from *readable*, and None means that there is none.

        *way_out* is what pushing needs.
        """
        ...


async def run_exporter(settings: MetricsSettings, given: Surroundings, *, lock: Lock) -> None:
    """Serve what the reader releases until SIGTERM or the end of the lifeline.

    *lock* is called once, when everything is open and nobody has been answered yet.
    Raises: TrafficdError if an address, the web config or a file of a destination cannot be had, or
    the reader is gone.
    """
    stop = asyncio.Event()
    stop_on_signals(stop, given.lifeline)
    async with AsyncExitStack() as ladder:
        ladder.callback(given.manager.close)
        destinations = Destinations.opened(given.pushing, ladder)
        intake = Intake(given.reader, given.classes, keep=destinations.keep)
        ladder.callback(intake.close)
        server = MetricsServer(given.listeners or open_listeners(settings.listen), settings.path)
        ladder.push_async_callback(server.close)
        # The addresses of sockets that were handed over are somebody else's to say.
        addresses = () if given.listeners else settings.listen
        exporter = _Exporter(
            intake, server, settings.web_config, given.manager, addresses, destinations
        )
        given.lifeline.tell(exporter.look_again)
        exporter.enter(lock)
        given.manager.ready("waiting for the reader")
        await run_until(stop, exporter.workers())
    say(Message.EXPORTER_STOPPED)


class _Exporter:
    """The workers of the exporter and what they share."""

    def __init__(
        self,
        intake: Intake,
        server: MetricsServer,
        web_config: str | None,
        manager: ServiceManager,
        addresses: Sequence[ListenAddress],
        destinations: Destinations,
    ) -> None:
        """Begin without an answer to anybody; *addresses* are those that it says it serves on."""
        self._intake = intake
        self._server = server
        self._web_config_file = None if web_config is None else Path(web_config)
        self._web_config = WebConfig.nothing()
        self._manager = manager
        self._addresses = addresses
        self._destinations = destinations
        self._is_serving = asyncio.Event()
        self._look = asyncio.Event()

    def look_again(self) -> None:
        """Look now whether the web config has changed."""
        self._look.set()

    def enter(self, lock: Lock) -> None:
        """Load the web config and be locked; from then on it is read as an unprivileged user."""
        readable = None
        if self._web_config_file is not None:
            try:
                self._web_config = load_web_config(self._web_config_file)
            except ConfigError as error:
                raise TrafficdError(str(error)) from error
            readable = self._web_config.directories()
        lock(readable=readable, way_out=self._destinations.way_out())
        self._destinations.locked()
        if self._web_config_file is not None and not self._web_config.is_readable():
            self._web_config_file = None
            say(Message.WEB_CONFIG_FIXED)

    def workers(self) -> dict[str, Worker]:
        """Return what runs side by side."""
        workers: dict[str, Worker] = {
            "releases": self._follow_releases,
            **self._destinations.workers(),
        }
        if self._web_config_file is not None:
            workers["web config"] = partial(self._follow_web_config, self._web_config_file)
        if self._manager.watchdog_seconds:
            workers["watchdog"] = self._manager.keep_alive
        return workers

    async def _follow_releases(self) -> None:
        """Serve from the first release on, and show each as it comes, for ever."""
        await self._show_next()
        await self._server.start(self._web_config)
        self._is_serving.set()
        for address in self._addresses:
            say(Message.EXPORTER_READY, address=address)
        while True:
            await self._show_next()

    async def _show_next(self) -> None:
        release = await self._intake.next_release()
        self._server.show(release, self._destinations.health(before=release.at))
        self._manager.status(exporter_status(release.at))

    async def _follow_web_config(self, file: Path) -> None:
        """Reread the web config whenever one of its files changed, for ever; survives bad files."""
        refused: object = None
        await self._is_serving.wait()
        while True:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
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
                    say(Message.WEB_CONFIG_REFUSED)
                refused = error.mistakes
                continue
            refused = None
            await self._server.start(self._web_config)
            say(Message.WEB_CONFIG_REREAD)

"""The exporter: where its parts meet."""

import asyncio
import signal
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

from trafficd.config import MetricsSettings
from trafficd.errors import ConfigError, TrafficdError
from trafficd.exporter.http import MetricsServer, open_listeners
from trafficd.exporter.intake import Classes, Intake
from trafficd.log import Message, say
from trafficd.service.lifecycle import Worker, run_until, stop_on_signals
from trafficd.service.lifeline import Lifeline
from trafficd.service.web_config import WebConfig, load_web_config

# A renewed certificate is served this long after it was written, at the latest.
_LOOK_SECONDS = 5.0


class Lock(Protocol):
    """Locks the exporter."""

    def __call__(self, *, readable: Sequence[Path] | None) -> object:
        """Lock; a web config is read anew from *readable*, and None means that there is none."""
        ...


async def run_exporter(
    settings: MetricsSettings,
    *,
    reader: socket.socket,
    classes: Classes,
    lock: Lock,
    lifeline: Lifeline | None = None,
) -> None:
    """Serve what the reader releases until SIGTERM or the end of *lifeline*.

    *classes* returns the classes configured by now. *lock* is called once, when everything is open
    and nobody has been answered yet.
    Raises: TrafficdError if an address or the web config cannot be had, or the reader is gone.
    """
    stop = asyncio.Event()
    stop_on_signals(stop, lifeline)
    async with AsyncExitStack() as ladder:
        intake = Intake(reader, classes)
        ladder.callback(intake.close)
        server = MetricsServer(open_listeners(settings.listen), settings.path)
        ladder.push_async_callback(server.close)
        exporter = _Exporter(intake, server, settings.web_config)
        exporter.enter(lock)
        await exporter.start()
        for address in settings.listen:
            say(Message.EXPORTER_READY, address=address)
        await run_until(stop, exporter.workers())
    say(Message.EXPORTER_STOPPED)


class _Exporter:
    """The workers of the exporter and what they share."""

    def __init__(self, intake: Intake, server: MetricsServer, web_config: str | None) -> None:
        self._intake = intake
        self._server = server
        self._web_config_file = None if web_config is None else Path(web_config)
        self._web_config = WebConfig.nothing()
        self._look = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._look.set)

    def enter(self, lock: Lock) -> None:
        """Load the web config and be locked; from then on it is read as an unprivileged user."""
        if self._web_config_file is None:
            lock(readable=None)
            return
        try:
            self._web_config = load_web_config(self._web_config_file)
        except ConfigError as error:
            raise TrafficdError(str(error)) from error
        lock(readable=self._web_config.directories())
        if not self._web_config.is_readable():
            self._web_config_file = None
            say(Message.WEB_CONFIG_FIXED)

    async def start(self) -> None:
        """Serve the first page that the reader hands out."""
        self._server.show(await self._intake.next_release())
        await self._server.start(self._web_config)

    def workers(self) -> dict[str, Worker]:
        """Return what runs side by side from the start on."""
        workers: dict[str, Worker] = {"releases": self._follow_releases}
        if self._web_config_file is not None:
            workers["web config"] = partial(self._follow_web_config, self._web_config_file)
        return workers

    async def _follow_releases(self) -> None:
        """Show each release as it comes, for ever."""
        while True:
            self._server.show(await self._intake.next_release())

    async def _follow_web_config(self, file: Path) -> None:
        """Reread the web config whenever one of its files changed, for ever; survives bad files."""
        refused: object = None
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

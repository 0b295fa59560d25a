"""The halves of a node in the lab and the demo: locked as in production, on a fast clock."""

import asyncio
import socket
from functools import partial

import msgspec

from trafficd.config import AgentSettings, Layer, SandboxSettings
from trafficd.continuity.keeper import Keeper
from trafficd.continuity.state_file import state_in_memory
from trafficd.demo.clock import FastClock
from trafficd.exporter import app as exporter
from trafficd.exporter.destinations import Pushing
from trafficd.kernel.sockets import LinkSockets
from trafficd.reader import app as reader
from trafficd.reader.configuration import Configuration
from trafficd.sandbox.apply import Half, enter_sandbox
from trafficd.sandbox.landlock import best_abi
from trafficd.service.lifeline import Lifeline
from trafficd.service.notify import ServiceManager


def count(
    settings: AgentSettings, clock: FastClock, links: LinkSockets, releases: socket.socket
) -> None:
    """Run the reader of *links* until it is ended; it listens on *releases*."""
    given = reader.Surroundings(
        links=[links],
        releases=releases,
        clock=clock,
        keeper=Keeper(state_in_memory()),
        lifeline=Lifeline(None),
        manager=ServiceManager({}),
    )
    lock = _lock(Half.READER, settings.sandbox)
    asyncio.run(reader.run_reader(Configuration(settings, ""), given, lock=lock))


def serve(settings: AgentSettings, releases: socket.socket, clock: FastClock) -> None:
    """Run the exporter of *releases* until it is ended."""
    given = exporter.Surroundings(
        reader=releases,
        classes=lambda: settings.classes,
        lifeline=Lifeline(None),
        manager=ServiceManager({}),
        pushing=Pushing.of(settings, clock),
    )
    lock = _lock(Half.EXPORTER, settings.sandbox)
    asyncio.run(exporter.run_exporter(settings.metrics, given, lock=lock))


def _lock(half: Half, settings: SandboxSettings) -> "partial[None]":
    """Return what locks *half*, without the layers that a machine for trying it out may lack.

    Nobody's traffic is in it. So its memory may be swapped: where a user starts it who is not
    root, the kernel would not let it lock so much. And a kernel without Landlock will do.
    """
    absent = {*settings.absent, Layer.SWAP}
    try:
        best_abi()
    except OSError:
        absent.add(Layer.LANDLOCK)
    return partial(enter_sandbox, half, msgspec.structs.replace(settings, absent=tuple(absent)))

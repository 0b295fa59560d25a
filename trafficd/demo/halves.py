"""The halves of a node in the lab and the demo: locked as in production, on a fast clock."""

import asyncio
import socket
from functools import partial

import msgspec

from trafficd.config import AgentSettings, Layer, SandboxSettings
from trafficd.demo.clock import FastClock
from trafficd.exporter.app import run_exporter
from trafficd.kernel.sockets import LinkSockets
from trafficd.reader.app import run_reader
from trafficd.sandbox.apply import Half, enter_sandbox
from trafficd.sandbox.landlock import best_abi


def count(
    settings: AgentSettings, clock: FastClock, links: LinkSockets, releases: socket.socket
) -> None:
    """Run the reader of *links* until it is ended."""
    asyncio.run(
        run_reader(
            settings,
            links=[links],
            exporter=releases,
            clock=clock,
            reread=lambda: settings,
            lock=_lock(Half.READER, settings.sandbox),
        )
    )


def serve(settings: AgentSettings, releases: socket.socket) -> None:
    """Run the exporter of *releases* until it is ended."""
    asyncio.run(
        run_exporter(
            settings.metrics,
            reader=releases,
            classes=lambda: settings.classes,
            lock=_lock(Half.EXPORTER, settings.sandbox),
        )
    )


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

"""The demo: where its parts meet."""

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

from trafficd.demo.clock import FastClock
from trafficd.demo.collector import collector_place, missing, start_collector
from trafficd.demo.node import (
    HOST,
    WINDOW_SECONDS,
    Node,
    start_exporter,
    start_laboratory,
    start_reader,
    start_recording,
    take_sockets,
)
from trafficd.demo.observer import Observer, View
from trafficd.demo.processes import Family
from trafficd.errors import TrafficdError

# A window of 5 minutes then lasts 5 seconds.
SPEED = 60.0
# Each node, with the number of sessions that stay on it for a while.
_NODES = {"fra-1": 14, "ams-1": 12, "nyc-1": 11}
_HIGHEST_PORT = 65535

# The readers are there before the first window begins, so that it is a whole one.
_LEAD_SECONDS = 1.0
_LOOK_SECONDS = 0.2

_REAL = "trafficd demo: {count} nodes in network namespaces of their own, with real packets"
_RECORDED = "trafficd demo: recorded link events, no packets: {reason}"
NO_COLLECTOR = "; for a collector: pip install 'trafficd[collector]'"


class Show(Protocol):
    """Where the demo is shown."""

    def begin(self, headline: str, views: Sequence[View]) -> None:
        """Say what runs."""
        ...

    def show(self, utc_seconds: float, views: Sequence[View]) -> None:
        """Show what there is to see at *utc_seconds* of the demo's time."""
        ...


def run_demo(show: Show, *, first_port: int, seconds: int | None) -> None:
    """Run the demo until a signal, or for so many seconds; leave nothing behind.

    Raises: TrafficdError if there is no port, or a process of the demo ended by itself.
    """
    *ports, collector_port = free_ports(first_port, len(_NODES) + 1)
    deadline = None if seconds is None else time.monotonic() + seconds
    clock = FastClock.starting_in(_LEAD_SECONDS, window_seconds=WINDOW_SECONDS, speed=SPEED)
    with ExitStack() as ladder:
        place = None
        if not missing():
            place = ladder.enter_context(collector_place(HOST, collector_port))
        family = ladder.enter_context(Family.together())
        nodes = [
            Node(name, port, residents, place)
            for (name, residents), port in zip(_NODES.items(), ports, strict=True)
        ]
        if place is not None:
            start_collector(family, place, list(_NODES), clock)
        observers, headline = _start(family, nodes, clock)
        headline += NO_COLLECTOR if place is None else f"; they push to {place.address}"
        show.begin(headline, [each.view for each in observers])
        look_at = time.monotonic()
        while deadline is None or time.monotonic() < deadline:
            for each in observers:
                each.look()
            show.show(clock.now().utc_seconds, [each.view for each in observers])
            look_at = max(look_at + _LOOK_SECONDS, time.monotonic())
            if family.wait(look_at - time.monotonic()):
                return


def free_ports(first: int, count: int) -> list[int]:
    """Return the first *count* ports on loopback from *first* on that nobody listens on.

    Shape: where *first* is 0, the kernel chooses.
    Raises: TrafficdError if there are not so many.
    """
    held: list[socket.socket] = []
    candidates = iter([0] * count if first == 0 else range(first, _HIGHEST_PORT + 1))
    try:
        while len(held) < count:
            port = next(candidates, None)
            if port is None:
                raise TrafficdError(f"--port {first}: too few free ports from there on")
            try:
                held.append(socket.create_server((HOST, port)))
            except OSError:
                continue
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def _start(family: Family, nodes: Sequence[Node], clock: FastClock) -> tuple[list[Observer], str]:
    """Start everything; return what to look at, and a line that says what it is."""
    channels = [start_laboratory(family, node, clock) for node in nodes]
    try:
        links = [take_sockets(channel) for channel in channels]
    except TrafficdError as error:
        family.end()
        return _start_recordings(family, nodes, clock), _RECORDED.format(reason=error)
    for node, sockets in zip(nodes, links, strict=True):
        start_exporter(family, node, clock, start_reader(family, node, clock, sockets))
    return _observers(nodes, channels, clock), _REAL.format(count=len(nodes))


def _start_recordings(family: Family, nodes: Sequence[Node], clock: FastClock) -> list[Observer]:
    channels = []
    for node in nodes:
        channel, releases = start_recording(family, node, clock)
        start_exporter(family, node, clock, releases)
        channels.append(channel)
    return _observers(nodes, channels, clock)


def _observers(
    nodes: Sequence[Node], channels: Sequence[socket.socket], clock: FastClock
) -> list[Observer]:
    return [Observer(node, channel, clock) for node, channel in zip(nodes, channels, strict=True)]

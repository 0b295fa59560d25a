"""The demo: where its parts meet."""

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Protocol

from trafficd.demo.clock import FastClock
from trafficd.demo.collector import (
    Place,
    collector_place,
    let_write,
    missing,
    start_collector,
    start_collector_with_history,
)
from trafficd.demo.fleet import FLEET, Span
from trafficd.demo.loading import ALL_PERCENT, Loading
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
from trafficd.demo.rest import push_the_rest
from trafficd.errors import TrafficdError

# A window of 5 minutes then lasts 5 seconds.
SPEED = 60.0
HISTORY_DAYS = 730
_LIVE = [member for member in FLEET if member.is_live]
_HIGHEST_PORT = 65535

# The readers are there before the first window begins, so that it is a whole one.
_LEAD_SECONDS = 1.0
_LOOK_SECONDS = 0.2

_REAL = "trafficd demo: {count} nodes in network namespaces of their own, with real packets"
_RECORDED = "trafficd demo: recorded link events, no packets: {reason}"
NO_COLLECTOR = "; for a collector: pip install 'trafficd[collector]'"
_LOADING = "loading {days} days of history"
_LOADED = (
    "planning page with {days} days of history: {place.page}"
    " and in a terminal: trafficd plan rank --history sqlite:{place.database}"
)


class Show(Protocol):
    """Where the demo is shown."""

    def begin(self, headline: str, views: Sequence[View]) -> None:
        """Say what runs."""
        ...

    def note(self, sentence: str, percent: int | None = None) -> None:
        """Say how far something is that the demo waits for."""
        ...

    def show(self, utc_seconds: float, views: Sequence[View]) -> None:
        """Show what there is to see at *utc_seconds* of the demo's time."""
        ...


def run_demo(
    show: Show, *, first_port: int, seconds: int | None, history_days: int = HISTORY_DAYS
) -> None:
    """Run the demo until a signal, or for so many seconds; leave nothing behind.

    Raises: TrafficdError if there is no port, or a process of the demo ended by itself.
    """
    *ports, collector_port = free_ports(first_port, len(_LIVE) + 1)
    deadline = None if seconds is None else time.monotonic() + seconds
    clock = FastClock.starting_in(_LEAD_SECONDS, window_seconds=WINDOW_SECONDS, speed=SPEED)
    with ExitStack() as ladder:
        place = None
        if not missing():
            place = ladder.enter_context(collector_place(HOST, collector_port))
        family = ladder.enter_context(Family.together())
        nodes = [Node(member, port, place) for member, port in zip(_LIVE, ports, strict=True)]
        if place is not None:
            let_write(place, FLEET if history_days else _LIVE)
        # Behind it: where it has to begin anew with recordings, it ends all there is.
        observers, headline = _start(family, nodes, clock)
        history = None
        if place is not None and history_days:
            history = _start_with_history(family, place, clock, history_days)
            ladder.callback(history.close)
        elif place is not None:
            start_collector(family, place, clock)
        show.begin(headline + _to_collector(place), [each.view for each in observers])
        look_at = time.monotonic()
        while deadline is None or time.monotonic() < deadline:
            for each in observers:
                each.look()
            if history is not None:
                history.tell(show)
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


class _History:
    """The history that is being loaded, or is there."""

    def __init__(self, loading: Loading, place: Place, days: int) -> None:
        self._loading = loading
        self._place = place
        self._days = days
        self._is_told = False

    def close(self) -> None:
        """Look no more."""
        self._loading.close()

    def tell(self, show: Show) -> None:
        """Say how far it is, until it is there."""
        if self._is_told:
            return
        percent = self._loading.look()
        self._is_told = percent == ALL_PERCENT and self._place.answers()
        if self._is_told:
            show.note(_LOADED.format(days=self._days, place=self._place))
        else:
            show.note(_LOADING.format(days=self._days), percent)


def _start_with_history(
    family: Family, place: Place, clock: FastClock, history_days: int
) -> _History:
    """Start the collector with the history of the whole fleet, and those who are not in the lab."""
    span = Span(int(clock.utc_start), history_days)
    loading = start_collector_with_history(family, place, clock, FLEET, span)
    rest = [member for member in FLEET if not member.is_live]
    family.start("rest of the fleet", partial(push_the_rest, place, rest, span, clock), keep=())
    return _History(loading, place, history_days)


def _to_collector(place: Place | None) -> str:
    if place is None:
        return NO_COLLECTOR
    return f"; they push to {place.address} (planning page: {place.page})"


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

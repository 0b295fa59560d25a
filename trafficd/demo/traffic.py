"""Plays a schedule on links, on the beat, and tells the demo the truth.

The traffic stands still around each grid point, from shortly before it until the demo has seen the
release of it. What the kernel counted at that instant is then known to the byte, and anyone can
compare it with what was published. A release that does not come is not waited for.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from trafficd.clock import Moment
from trafficd.demo.clock import FastClock
from trafficd.demo.schedule import SESSION_LINK, STEP_SECONDS, Action, Closed, Moved, Opened
from trafficd.demo.truth import NOT_STILL, Reporter, Truth
from trafficd.releases import Totals

# A step takes some 30 ms where it takes links away; one that begins this early ends in time.
_STILL_BEFORE_SECONDS = 0.15
_STILL_AFTER_SECONDS = 1.0
# How finely time is kept while nothing moves.
_LISTEN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Flow:
    """What the links of a node have moved since they are there."""

    uplink: Totals
    tunnel: Totals


class Links(Protocol):
    """The links of a node: real ones, or a recording of some."""

    @property
    def flow(self) -> Flow:
        """What they have moved so far."""
        ...

    def open(self, link: str, packet_bytes: int) -> None:
        """Make a tunnel link."""
        ...

    def move(self, link: str, received: int, transmitted: int) -> None:
        """Move packets over a tunnel link, and what that entails over the uplink."""
        ...

    def close(self, link: str) -> None:
        """Take a tunnel link away."""
        ...


class Timekeeper(Protocol):
    """Who has to act at grid points; a real reader does so in a process of its own."""

    def keep_time(self, now: Moment) -> None:
        """Do what is due."""
        ...


class Nobody:
    """A timekeeper with nothing to do."""

    def keep_time(self, now: Moment) -> None:
        """Do nothing."""


class Traffic:
    """The traffic of one node."""

    def __init__(
        self,
        links: Links,
        reporter: Reporter,
        clock: FastClock,
        *,
        window_seconds: int,
        timekeeper: Timekeeper,
    ) -> None:
        self._links = links
        self._reporter = reporter
        self._clock = clock
        self._window_seconds = window_seconds
        self._timekeeper = timekeeper
        self._sessions_opened = 0
        self._sessions_open = 0

    def play(self, steps: Iterable[list[Action]]) -> None:
        """Wait for the demo's word, then play *steps* on the beat.

        Raises: HalfEndedError if the demo is gone.
        """
        while self._reporter.seen_point == NOT_STILL:
            self._listen()
        beat = time.monotonic()
        for actions in steps:
            point = self._next_point()
            if self._real_seconds_to(point) < _STILL_BEFORE_SECONDS:
                self._stand_still(point)
                beat = time.monotonic()
            for action in actions:
                self._perform(action)
            self._reporter.report(self._truth(NOT_STILL))
            beat += STEP_SECONDS
            while time.monotonic() < beat:
                self._listen(beat - time.monotonic())

    def _stand_still(self, point: int) -> None:
        truth = self._truth(point)
        # Too late is not still: the release may hold less than this.
        if self._real_seconds_to(point) > 0:
            self._reporter.report(truth)
        while (
            self._reporter.seen_point < point
            and self._real_seconds_to(point) > -_STILL_AFTER_SECONDS
        ):
            self._listen()

    def _listen(self, seconds: float = _LISTEN_SECONDS) -> None:
        self._reporter.listen(min(seconds, _LISTEN_SECONDS))
        self._timekeeper.keep_time(self._clock.now())

    def _perform(self, action: Action) -> None:
        match action:
            case Opened(link, packet_bytes):
                self._links.open(link, packet_bytes)
                self._sessions_opened += link.startswith(SESSION_LINK)
                self._sessions_open += link.startswith(SESSION_LINK)
            case Moved(link, received, transmitted):
                self._links.move(link, received, transmitted)
            case Closed(link):
                self._links.close(link)
                self._sessions_open -= link.startswith(SESSION_LINK)

    def _truth(self, still_at: int) -> Truth:
        flow = self._links.flow
        return Truth(still_at, flow.uplink, flow.tunnel, self._sessions_opened, self._sessions_open)

    def _next_point(self) -> int:
        window = self._window_seconds
        return int(self._clock.now().utc_seconds // window + 1) * window

    def _real_seconds_to(self, point: int) -> float:
        return self._clock.real(point - self._clock.now().utc_seconds)

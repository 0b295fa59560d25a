"""Pushes releases to one destination, oldest first and one at a time.

A release that is kept is in one of two states: it waits in the backlog for its moment and for those
before it, or it is under way. It leaves when the destination took it, refused it for good, or it
became too old for it; nothing else takes it away. While it is under way it is the same bytes at
every try, and no other message is sent.

The moment of a release follows from its grid point and the node's name; that of what was missed,
from chance at the start and the pace of catching up; that of another try, from chance and how often
it was tried. None of them follows from what moved.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol as Seam

from trafficd.clock import Clock
from trafficd.destinations import Destination
from trafficd.exporter.backlog import Backlog
from trafficd.exporter.moment import moment_seconds
from trafficd.exporter.post import Answer, Outcome
from trafficd.exporter.retry import Backoff, Chance
from trafficd.log import Message, say
from trafficd.series import Series, series_of
from trafficd.wire.frame import FRAME_BYTES, decode_frame
from trafficd.wire.remote_write import Layout, Protocol, stored_block

# Chosen: within this after its start an exporter begins to send what it has missed. A fleet that is
# upgraded at once comes back so, and the reader has handed over the past long before the first.
_START_FIRST_SECONDS, _START_LAST_SECONDS = 2.0, 30.0
# On a clock that runs fast, the past takes the world's time to be handed over.
_HANDED_OVER_SECONDS = 1.0
# Chosen: a month of hours is caught up in 8 s, and a collector of 10,000 nodes is asked for one
# message of each at a time, however many they owe.
_PACE_SECONDS = 0.01
# Chosen: who rotates a token has it used within seconds.
_LOOK_SECONDS = 5.0
_WHO_ARE_YOU = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
# Chosen: an operator sees why, and a month of refusals is one line.
_SILENCE_SECONDS = 60.0
# Sets of classes are as many as there were configurations in a month.
_LAYOUTS = 4


class Way(Seam):
    """The way to a destination."""

    def send(self, block: bytes, protocol: Protocol, now: Callable[[], float]) -> Awaitable[Answer]:
        """Return what the destination says to *block*."""
        ...


@dataclass(frozen=True, slots=True)
class Sender:
    """Who pushes, as a message says it, and how far apart the releases are."""

    node: str
    location: str
    window_seconds: int


@dataclass(frozen=True, slots=True)
class PushHealth:
    """How pushing to one destination goes.

    Units: *last_success_at* is UTC seconds on the grid; 0 before the first.
    """

    destination: str
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    pending: int = 0
    last_success_at: int = 0


class Pusher:
    """One destination's worker; *look* has its credentials read anew, and says if they changed."""

    def __init__(
        self,
        destination: Destination,
        sender: Sender,
        way: Way,
        look: Callable[[], bool],
        *,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._destination = destination
        self._sender = sender
        self._way = way
        self._look = look
        self._clock = clock
        self._chance = chance
        self._backlog = Backlog()
        self._backoff = Backoff(chance)
        self._protocol = destination.protocol
        self._layout = lru_cache(_LAYOUTS)(self._new_layout)
        self._moment_seconds = moment_seconds(sender.node, sender.window_seconds)
        self._sent = self._failed = self._dropped = self._last_success_at = 0
        self._next_at = self._looked_at = self._silent_until = 0.0

    @property
    def name(self) -> str:
        """The destination's name."""
        return self._destination.name

    def keep(self, at: int, frame: bytes, *, is_beginning: bool = False) -> None:
        """Send the release in *frame* in its turn, or the beginning of a run."""
        self._dropped += self._backlog.add(at, frame, is_beginning=is_beginning)

    def health(self, *, before: int) -> PushHealth:
        """Return how it goes; releases of *before* and later are not looked for yet."""
        return PushHealth(
            destination=self.name,
            sent=self._sent,
            failed=self._failed,
            dropped=self._dropped,
            pending=self._backlog.count(before=before),
            last_success_at=self._last_success_at,
        )

    async def run(self) -> None:
        """Send every release that is kept, for ever; survives whatever a destination answers."""
        spread = _START_LAST_SECONDS - _START_FIRST_SECONDS
        pause = _START_FIRST_SECONDS + spread * self._chance()
        await self._clock.sleep(max(pause, _HANDED_OVER_SECONDS * self._clock.speed))
        while True:
            await self._moment_of(await self._backlog.oldest())
            await self._keep_pace()
            # Not the one that was waited for, if an older one has come meanwhile.
            at = await self._backlog.oldest()
            await self._deliver(at)
            self._backlog.remove(at)

    async def _moment_of(self, at: int) -> None:
        """Wait for the moment of the release of *at*.

        Never longer than a moment is late: where the clock was set back, the grid is ahead.
        """
        ahead = at + self._moment_seconds - self._clock.now().utc_seconds
        if ahead > 0:
            await self._clock.sleep(min(ahead, self._moment_seconds))

    async def _keep_pace(self) -> None:
        now = self._clock.now().elapsed_seconds
        if now < self._next_at:
            await self._clock.sleep(self._next_at - now)
        self._next_at = max(self._next_at, now) + _PACE_SECONDS

    async def _deliver(self, at: int) -> None:
        """Try until there is nothing more to be tried with the release of *at*."""
        frame = self._backlog.frame(at)
        block = self._packed(frame)
        while self._clock.now().utc_seconds - at <= self._destination.max_age:
            self._look_now_and_then()
            answer = await self._way.send(block, self._protocol, self._utc_seconds)
            match answer.outcome:
                case Outcome.TAKEN:
                    self._taken()
                    return
                case Outcome.REFUSED:
                    # Refused is the token of before, and not the release.
                    if answer.status in _WHO_ARE_YOU and self._look():
                        continue
                    self._refused(answer)
                    return
                case Outcome.OTHER_PROTOCOL:
                    self._protocol = Protocol.V1
                    block = self._packed(frame)
                case Outcome.UNAVAILABLE:
                    self._failed += 1
                    await self._clock.sleep(self._backoff.pause_seconds(answer.wish_seconds))
        self._dropped += 1

    def _taken(self) -> None:
        self._sent += 1
        self._backoff.forget()
        now = int(self._utc_seconds())
        self._last_success_at = now - now % self._sender.window_seconds

    def _refused(self, answer: Answer) -> None:
        self._dropped += 1
        self._backoff.forget()
        now = self._clock.now().elapsed_seconds
        if now < self._silent_until:
            return
        self._silent_until = now + _SILENCE_SECONDS
        say(Message.PUSH_REFUSED, destination=self.name, status=answer.status, answer=answer.line)

    def _look_now_and_then(self) -> None:
        now = self._clock.now().elapsed_seconds
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._look()

    def _packed(self, frame: bytes) -> bytes:
        """Return the release in *frame* as a snappy block: the same bytes whenever it is asked."""
        release = decode_frame(frame.ljust(FRAME_BYTES, b"\0"))
        found = series_of(release)
        layout = self._layout(tuple(series for series, _ in found), self._protocol)
        return stored_block(layout.pack(release.at, [value for _, value in found]))

    def _new_layout(self, series: tuple[Series, ...], protocol: Protocol) -> Layout:
        return Layout(self._sender.node, self._sender.location, series, protocol)

    def _utc_seconds(self) -> float:
        return self._clock.now().utc_seconds

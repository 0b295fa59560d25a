"""All destinations of an exporter: what they need of the kernel, and a worker for each."""

import math
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

from trafficd.clock import Clock, SystemClock
from trafficd.config import AgentSettings
from trafficd.destinations import Destination
from trafficd.errors import ConfigError, TrafficdError
from trafficd.exporter.backlog import MOST_RELEASES
from trafficd.exporter.credentials import Credentials
from trafficd.exporter.names import NameService
from trafficd.exporter.post import Post
from trafficd.exporter.push import Pusher, PushHealth, Sender
from trafficd.exporter.retry import Chance
from trafficd.releases import Release, beginning_of
from trafficd.sandbox.apply import WayOut
from trafficd.service.lifecycle import Worker
from trafficd.wire.frame import encode_frame, trimmed
from trafficd.wire.remote_write import can_be_sent

_RANDOM = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class Pushing:
    """To whom releases are pushed, in whose name, and on which clock."""

    destinations: tuple[Destination, ...]
    sender: Sender
    clock: Clock
    chance: Chance = _RANDOM.random

    @classmethod
    def nobody(cls) -> Self:
        """Return what a configuration without destinations means."""
        return cls((), Sender("", "", 0), SystemClock())

    @classmethod
    def of(cls, settings: AgentSettings, clock: Clock | None = None) -> Self:
        """Return what *settings* say; a laboratory has a *clock* of its own."""
        sender = Sender(settings.node.name, settings.node.location, settings.window)
        return cls(settings.push, sender, clock or SystemClock())


class Destinations:
    """The pushers, and what they share."""

    def __init__(
        self, pushing: Pushing, credentials: Sequence[Credentials], pushers: Sequence[Pusher]
    ) -> None:
        self._pushing = pushing
        self._credentials = credentials
        self._pushers = pushers
        # Of each run, by its start, the earliest release that is known.
        self._earliest: dict[int, int] = {}

    @classmethod
    def opened(cls, pushing: Pushing, ladder: AsyncExitStack) -> Self:
        """Return them with all files read; *ladder* closes their connections.

        Called in a running loop.
        Raises: TrafficdError with a line for every file that is not as it should be.
        """
        credentials = _all_credentials(pushing.destinations)
        names = NameService.of_this_host()
        pushers = []
        for destination, each in zip(pushing.destinations, credentials, strict=True):
            post = Post(destination, each, names)
            ladder.push_async_callback(post.close)
            pushers.append(
                Pusher(
                    destination,
                    pushing.sender,
                    post,
                    each.look,
                    clock=pushing.clock,
                    chance=pushing.chance,
                )
            )
        return cls(pushing, credentials, pushers)

    def way_out(self) -> WayOut | None:
        """Return what has to be left to an exporter that pushes; None if it does not."""
        directories = (path for each in self._credentials for path in each.directories)
        return WayOut.to(self._pushing.destinations, directories)

    def locked(self) -> None:
        """Look which files can be read anew, now that the process is locked."""
        for each in self._credentials:
            each.locked()

    def keep(self, release: Release, frame: bytes) -> None:
        """Have *release*, which came in *frame*, sent to every destination."""
        # Before the first decision there is nothing that was released.
        if not (self._pushers and can_be_sent(release.at)):
            return
        self._keep(release.at, trimmed(frame))
        # Releases come in any order at the start of an exporter.
        if release.at >= self._earliest.get(release.started_at, math.inf):
            return
        self._earliest[release.started_at] = release.at
        # A reader that makes up runs fills no memory.
        if len(self._earliest) > MOST_RELEASES:
            del self._earliest[min(self._earliest)]
        beginning = beginning_of(release, self._pushing.sender.window_seconds)
        if beginning is not None and can_be_sent(beginning.at):
            self._keep(beginning.at, trimmed(encode_frame(beginning)), is_beginning=True)

    def _keep(self, at: int, kept: bytes, *, is_beginning: bool = False) -> None:
        for each in self._pushers:
            each.keep(at, kept, is_beginning=is_beginning)

    def health(self, *, before: int) -> list[PushHealth]:
        """Return how it goes with each, as it is shown with the release of *before*."""
        return [each.health(before=before) for each in self._pushers]

    def workers(self) -> dict[str, Worker]:
        """Return a worker for each."""
        return {f"push to {each.name}": each.run for each in self._pushers}


def _all_credentials(destinations: tuple[Destination, ...]) -> list[Credentials]:
    found, mistakes = [], []
    for each in destinations:
        try:
            found.append(Credentials(each))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise TrafficdError("\n".join(mistakes))
    return found

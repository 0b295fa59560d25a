"""Group commit: messages that come while one batch is made durable are the next batch.

A message waits in a list until the batch before it is done; then all that wait go to the store in
one transaction, in a thread, and each sender is answered after it. So durability costs one sync a
batch, however many wait for it, and nobody waits for more than two.

Senders that were answered together come back together. So a batch waits, for some milliseconds at
most, until as many messages are there as the batch before it had: a few senders, each with a
message at a time, would else share a sync by halves. One that comes alone does not wait.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import NoReturn

from trafficd.collector.slices import Slice
from trafficd.errors import StoreFullError
from trafficd.log import Message, say

# Chosen: less than a sync takes on most disks, and more than it takes a sender to come back.
_GATHERING_SECONDS = 0.004
# Chosen: a second's work; their senders would have given up on more.
MOST_WAITING = 4096

Arrival = tuple[int, Sequence[Slice]]
# Appends a batch durably, and says of each message why it is refused, if it is.
Append = Callable[[Sequence[Arrival]], Awaitable[Sequence[str | None]]]
Keep = Callable[[int, Sequence[Slice]], object]


class Outcome(Enum):
    """What became of a message that the store had nothing against."""

    STORED = auto()
    NO_ROOM = auto()


# Hears the outcome, or why the store refuses the message.
Done = Callable[[Outcome | str], object]


class Writer:
    """Messages on their way to the store."""

    def __init__(self, append: Append, keep: Keep) -> None:
        """Store by *append*; *keep* hears what is durable, before its sender does."""
        self._append = append
        self._keep = keep
        self._waiting: list[tuple[Arrival, Done]] = []
        self._arrived = asyncio.Event()
        self._are_back = asyncio.Event()
        # How many messages the last batch had.
        self._expected = 1
        self.is_full = False

    def put(self, node: int, slices: Sequence[Slice], done: Done) -> bool:
        """Store *slices* of *node*, then call *done*.

        Return False, and do nothing, where too many wait.
        """
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting.append(((node, slices), done))
        # Setting it again would cost as much as the first time.
        if len(self._waiting) == 1:
            self._arrived.set()
        if len(self._waiting) == self._expected:
            self._are_back.set()
        return True

    async def run(self) -> NoReturn:
        """Store what comes, for ever; survives a full disk.

        Raises: StoreError if the store cannot be written for another reason.
        """
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self._expected:
                await self._gather()
            self._arrived.clear()
            self._are_back.clear()
            batch, self._waiting = self._waiting, []
            self._expected = len(batch)
            try:
                reasons = await self._append([arrival for arrival, _ in batch])
            except StoreFullError:
                self._say_full(is_full=True)
                for _, done in batch:
                    done(Outcome.NO_ROOM)
                continue
            self._say_full(is_full=False)
            for (arrival, done), reason in zip(batch, reasons, strict=True):
                if reason is None:
                    self._keep(*arrival)
                done(Outcome.STORED if reason is None else reason)

    async def _gather(self) -> None:
        """Wait until as many are there as last time, or long enough."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHERING_SECONDS):
                await self._are_back.wait()

    def _say_full(self, *, is_full: bool) -> None:
        if is_full != self.is_full:
            self.is_full = is_full
            say(Message.COLLECTOR_FULL if is_full else Message.COLLECTOR_ROOM)

"""The releases that a destination has not taken yet, oldest first."""

import asyncio
from bisect import bisect_left, insort

from trafficd.destinations import LONGEST_AGE_SECONDS
from trafficd.schema import MINIMUM_WINDOW_SECONDS

# More than a reader that keeps to the grid can have.
MOST_RELEASES = LONGEST_AGE_SECONDS // MINIMUM_WINDOW_SECONDS + 2


class Backlog:
    """Frames by their grid point, as small as they are kept; never two of one.

    All destinations hold the same frames: a month of the shortest window takes some megabytes once.
    """

    def __init__(self) -> None:
        self._frames: dict[int, bytes] = {}
        self._instants: list[int] = []
        self._beginnings: set[int] = set()
        self._is_grown = asyncio.Event()

    def add(self, at: int, frame: bytes, *, is_beginning: bool = False) -> bool:
        """Keep the release of *at*; return whether the oldest had to go for it.

        One that *is_beginning* was never released, and gives way to one that was.
        """
        is_known = at in self._frames
        if is_known and (is_beginning or at not in self._beginnings):
            return False
        (self._beginnings.add if is_beginning else self._beginnings.discard)(at)
        self._frames[at] = frame
        if is_known:
            return False
        insort(self._instants, at)
        self._is_grown.set()
        if len(self._instants) > MOST_RELEASES:
            self.remove(self._instants[0])
            return True
        return False

    async def oldest(self) -> int:
        """Return the oldest grid point, when there is one."""
        while not self._instants:
            self._is_grown.clear()
            await self._is_grown.wait()
        return self._instants[0]

    def frame(self, at: int) -> bytes:
        """Return the release of *at*."""
        return self._frames[at]

    def remove(self, at: int) -> None:
        """Be done with the release of *at*, if it is still here."""
        if self._frames.pop(at, None) is not None:
            del self._instants[bisect_left(self._instants, at)]
            self._beginnings.discard(at)

    def count(self, *, before: int) -> int:
        """Return how many releases are older than *before*."""
        return bisect_left(self._instants, before)

"""The grid: at which instants something may be published, whatever the clock does.

Grid points are the UTC instants that are multiples of the window. One is due when it has come and

- it was not decided before, so that a clock set back never publishes an instant twice;
- a whole window has really passed since the last decision, or since the start, so that a clock set
  forward never makes a window short;
- it came just now: one that was slept through is left out, because what has moved since would be
  published under its time, and the next window would be short;
- if it is the first, it came a whole window after the start. An earlier one may be next to the last
  of the run before, and that is where this run's totals are said to have been 0 (releases.py).

What is left out is in the next release.
"""

from collections import deque
from typing import Self

from trafficd.accounting.state import GridState
from trafficd.clock import Moment

# Two decisions may be closer than the window by the scheduling of a busy machine, and no more.
SLACK_SECONDS = 1.0
# A grid point may be decided this late; a machine that was suspended is later.
LATEST_SECONDS = 10.0
# Both clocks tell the distance of two moments alike, but for what floats take.
_ALIKE_SECONDS = 0.0007
# As long as releases are kept: a clock set back by more finds no instant it could repeat.
REMEMBERED_SECONDS = 31 * 24 * 60 * 60


class Grid:
    """The grid points of one run and which of them have been decided."""

    def __init__(self, window_seconds: int, start: Moment, *, speed: float = 1.0) -> None:
        """Begin at *start*; on a clock *speed* times as fast, a machine is late by as much more."""
        self._window_seconds = window_seconds
        self._slack_seconds = min(SLACK_SECONDS * speed, window_seconds / 2)
        self._latest_seconds = min(LATEST_SECONDS * speed, window_seconds / 2)
        self._decided: deque[int] = deque(maxlen=REMEMBERED_SECONDS // window_seconds)
        self._decided_elapsed = start.elapsed_seconds
        self.started_at = self.before(start)

    @classmethod
    def restored(cls, state: GridState, window_seconds: int, now: Moment, *, speed: float) -> Self:
        """Return the grid of *state*, of this boot, with the window that is configured now."""
        grid = cls(window_seconds, now, speed=speed)
        grid._decided.extend(state.decided)
        grid._decided_elapsed = state.decided_elapsed
        grid.started_at = state.started_at
        return grid

    def state(self) -> GridState:
        """Return all that ``restored`` takes."""
        return GridState(self.started_at, tuple(self._decided), self._decided_elapsed)

    def before(self, now: Moment) -> int:
        """Return the grid point at *now* or the last one before it."""
        return int(now.utc_seconds // self._window_seconds) * self._window_seconds

    def due(self, now: Moment) -> int | None:
        """Return the grid point to decide now, if there is one."""
        point = self.before(now)
        if point in self._decided:
            return None
        late_seconds = now.utc_seconds - point
        if late_seconds > self._latest_seconds:
            return None
        came_elapsed = now.elapsed_seconds - (0.0 if self._decided else late_seconds)
        if came_elapsed < self._next_elapsed():
            return None
        return point

    def decided(self, point: int, now: Moment) -> None:
        """Note that *point* was decided, with counters as of *now*."""
        self._decided.append(point)
        self._decided_elapsed = now.elapsed_seconds

    def next_due(self, now: Moment) -> int:
        """Return the first grid point that can become due after *now*, if no clock is stepped."""
        earliest = now.utc_seconds + self._next_elapsed() - now.elapsed_seconds
        if self._decided:
            earliest -= self._latest_seconds
        earliest = max(earliest, now.utc_seconds - self._latest_seconds)
        point = self.before(now)
        while point in self._decided or point < earliest:
            point += self._window_seconds
        return point

    def seconds_to_next(self, now: Moment) -> float:
        """Return how long after *now* it is worth asking again; never negative."""
        by_grid = self.next_due(now) - now.utc_seconds
        return max(0.0, by_grid, self._next_elapsed() - now.elapsed_seconds)

    def _next_elapsed(self) -> float:
        slack_seconds = self._slack_seconds if self._decided else _ALIKE_SECONDS
        return self._decided_elapsed + self._window_seconds - slack_seconds

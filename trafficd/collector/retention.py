"""Days summed up, and what is too old deleted: one small step at a time, beside the ingest.

Releases of days that are over are marked, grid point by grid point, and what is marked is summed up
into days; a release that arrives later marks its day again. What was summed up may be deleted. Each
step is a transaction of some milliseconds.

What is marked is summed up in rounds, in order, so that a backlog that comes in release by release
has its days summed up a few times and not once a release.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from trafficd.collector.store_daily import DAY_SECONDS, Daily, day_of, end_of
from trafficd.collector.store_rows import Rows
from trafficd.collector.store_schema import transaction

# The reader keeps 31 days of releases for a collector that was away; younger ones may still come.
FEWEST_RAW_DAYS = 32
# Nodes push within minutes of a grid point; who comes later has its day summed up once more.
_GRACE_SECONDS = 60 * 60
# Chosen: from the beginning of one round to that of the next.
_ROUND_SECONDS = 10 * 60
_DAYS_A_STEP = 8
_ROWS_A_STEP = 500
_MARKS_A_STEP = 2000


@dataclass(frozen=True, slots=True)
class Kept:
    """How many days releases and days are kept; None is for ever."""

    raw_days: int | None = 400
    daily_days: int | None = None


class Retention:
    """The steps, each of which does what is most urgent."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rows: Rows,
        daily: Daily,
        summed: Callable[[int], object],
    ) -> None:
        """Call *summed* with the number of each node that has no marks any more on some day."""
        self._connection = connection
        self._rows = rows
        self._daily = daily
        self._summed = summed
        # The node up to which the releases of marked_to are marked; None for all.
        self._marked_node: int | None = None
        # How far the round has come, by day and node; and when the last one began.
        self._summed_to = (0, 0)
        self._round_began_at = -inf
        # Up to these times and rows, all that could be deleted has been.
        self._releases_to = (0, 0)
        self._days_to = (0, 0)
        self.marked_to = self._progress("marked")
        self.given_up_to = self._progress("given up")

    def step(self, now: float, kept: Kept) -> bool:
        """Do one step, and return whether there may be more to do."""
        return (
            self._mark(now)
            or self._sum_up(now)
            or self._delete_releases(now, kept)
            or self._delete_facts()
            or self._delete_days(now, kept)
        )

    def reread(self) -> None:
        """Take up again what the file says, after a step that was undone."""
        self._rows.forget()
        self._marked_node = None
        self._summed_to = (0, 0)
        self._round_began_at = -inf
        self._releases_to = self._days_to = (0, 0)
        self.marked_to = self._progress("marked")
        self.given_up_to = self._progress("given up")

    def _mark(self, now: float) -> bool:
        """Have nodes' days of the next grid point summed up, if that day is over."""
        at = self.marked_to
        if self._marked_node is None:
            (at,) = self._connection.execute(
                "SELECT min(at) FROM release WHERE at > ?", (self.marked_to,)
            ).fetchone()
            if at is None or end_of(day_of(at)) + _GRACE_SECONDS > now:
                return False
        found = self._connection.execute(
            "SELECT ?, node FROM release WHERE at = ? AND node > ? ORDER BY node LIMIT ?",
            (day_of(at), at, self._marked_node or 0, _MARKS_A_STEP),
        ).fetchall()
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT OR IGNORE INTO stale (day, node) VALUES (?, ?)", found
            )
            if len(found) < _MARKS_A_STEP:
                # Not before: a successor would leave the others out.
                self._note("marked", at)
        # From the first step on, as nodes that are behind it may say something still.
        self.marked_to = at
        self._marked_node = found[-1][1] if len(found) == _MARKS_A_STEP else None
        return True

    def _sum_up(self, now: float) -> bool:
        if self._summed_to == (0, 0):
            if self._round_began_at <= now < self._round_began_at + _ROUND_SECONDS:
                return False
            self._round_began_at = now
        stale = self._connection.execute(
            "SELECT day, node FROM stale WHERE (day, node) > (?, ?) ORDER BY day, node LIMIT ?",
            (*self._summed_to, _DAYS_A_STEP),
        ).fetchall()
        if not stale:
            self._summed_to = (0, 0)
            return False
        with transaction(self._connection):
            for day, number in stale:
                self._daily.sum_up(number, day)
            self._connection.executemany("DELETE FROM stale WHERE day = ? AND node = ?", stale)
        self._summed_to = stale[-1]
        for _, number in stale:
            self._summed(number)
        return True

    def _delete_releases(self, now: float, kept: Kept) -> bool:
        """Delete releases that are too old, but the newest of a node: it is where that stands."""
        if kept.raw_days is None:
            return False
        until = min(_days_ago(now, kept.raw_days), self.marked_to)
        waiting = self._connection.execute(
            "SELECT 1 FROM stale WHERE day <= ? LIMIT 1", (day_of(until),)
        ).fetchone()
        if waiting:
            return False
        found = self._connection.execute(
            "SELECT at, node, facts FROM release WHERE (at, node) > (?, ?) AND at <= ?"
            " ORDER BY at, node LIMIT ?",
            (*self._releases_to, until, _ROWS_A_STEP),
        ).fetchall()
        if not found:
            return False
        with transaction(self._connection):
            for at, number, facts in found:
                if at < self._last_summed(number):
                    self._connection.execute(
                        "DELETE FROM release WHERE at = ? AND node = ?", (at, number)
                    )
                elif facts is not None:
                    self._connection.execute(
                        "UPDATE facts SET until = NULL WHERE number = ?", (facts,)
                    )
            self._note("given up", found[-1][0])
        self._releases_to = found[-1][:2]
        self.given_up_to = found[-1][0]
        return True

    def _last_summed(self, number: int) -> int:
        """Return the time of the last release of node *number* that is summed up."""
        (last_at,) = self._connection.execute(
            "SELECT max(last_at) FROM daily WHERE node = ?1"
            " AND day = (SELECT max(day) FROM daily WHERE node = ?1)",
            (number,),
        ).fetchone()
        return int(last_at or 0)

    def _delete_facts(self) -> bool:
        found = self._connection.execute(
            "SELECT number FROM facts WHERE until IS NOT NULL AND until <= ? LIMIT ?",
            (self.given_up_to, _ROWS_A_STEP),
        ).fetchall()
        if not found:
            return False
        gone = {number for (number,) in found}
        with transaction(self._connection):
            for at, number, facts in self._left_behind():
                if facts not in gone:
                    continue
                if at < self._last_summed(number):
                    self._connection.execute(
                        "DELETE FROM release WHERE at = ? AND node = ?", (at, number)
                    )
                else:
                    gone.remove(facts)
            self._connection.executemany(
                "DELETE FROM facts WHERE number = ?", [(facts,) for facts in gone]
            )
        # Late releases must not share what is gone.
        self._rows.forget()
        return bool(gone)

    def _left_behind(self) -> list[tuple[int, int, int | None]]:
        """Return the releases that stand though they are too old: time, node and facts.

        Each was the newest of its node. One that came back counts its next day from it, and has
        no more need of it when that is summed up.
        """
        return self._connection.execute(
            "SELECT at, node, facts FROM release WHERE at <= ?", (self.given_up_to,)
        ).fetchall()

    def _delete_days(self, now: float, kept: Kept) -> bool:
        """Delete days that are too old, but the last of a node: it says how far that got."""
        if kept.daily_days is None:
            return False
        before = day_of(_days_ago(now, kept.daily_days)) + 1
        done_before, number = self._days_to
        if done_before == before:
            return False
        (number,) = self._connection.execute(
            "SELECT min(number) FROM node WHERE number > ?", (number,)
        ).fetchone()
        if number is None:
            self._days_to = (before, 0)
            return False
        with transaction(self._connection):
            self._connection.execute(
                "DELETE FROM daily WHERE node = ?1 AND day < ?2"
                " AND day < (SELECT max(day) FROM daily WHERE node = ?1)",
                (number, before),
            )
        self._days_to = (done_before, number)
        return True

    def _progress(self, name: str) -> int:
        found = self._connection.execute(
            "SELECT at FROM progress WHERE name = ?", (name,)
        ).fetchone()
        return int(found[0]) if found else 0

    def _note(self, name: str, at: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO progress VALUES (?, ?)", (name, at))


def _days_ago(now: float, days: int) -> int:
    """Return the end of the last UTC day that is over *days* ago."""
    return (int(now) // DAY_SECONDS - days) * DAY_SECONDS

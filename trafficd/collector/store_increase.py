"""What a node moved over some of its releases, whatever runs they are of.

A run begins at 0: where a release states another start than the one before, or a counter is less
than it was, all that it states was moved since. What a series had when it was first seen is taken
as moved before, unless its run is known to have begun since then.
"""

from collections.abc import Mapping
from operator import lt

from trafficd.collector.store_coding import START, Values, has_holes
from trafficd.collector.store_rows import Row, Rows
from trafficd.collector.store_runs import counters, fell
from trafficd.series import Series


class Increase:
    """Adds up what counters moved from release to release; *moved* has what it came to."""

    def __init__(self, rows: Rows, since: int) -> None:
        """Count what was moved after *since*; the release in force then, if any, comes first."""
        self._rows = rows
        self._since = since
        self._start: float | None = None
        self._began_inside = False
        self._last: dict[Series, float] = {}
        self._moved: dict[Series, int] = {}
        self._row: Row | None = None
        self._totals: Values = ()
        # The totals of a row have moved on from _last and are not added yet.
        self._pending: Row | None = None

    def add(self, row: Row) -> None:
        """Take the next release in time order.

        Raises: ValueError if it does not decode.
        """
        totals = self._rows.totals(row)
        # Nearly always only totals move, and then it is the last one that matters.
        if (
            self._row is not None
            and row.layout is self._row.layout
            and row.facts == self._row.facts
            and not has_holes(totals)
            and not has_holes(self._totals)
            and not any(map(lt, totals, self._totals))
        ):
            self._row, self._totals, self._pending = row, totals, row
            return
        self._settle()
        self._add(row.at, self._rows.values(row))
        self._row, self._totals = row, totals

    def moved(self) -> dict[Series, int]:
        """Return what each counter moved, in the order in which they were seen."""
        self._settle()
        return self._moved

    def _settle(self) -> None:
        if self._pending is not None:
            row, self._pending = self._pending, None
            self._add(row.at, self._rows.values(row))

    def _add(self, at: int, values: Mapping[Series, float]) -> None:
        start = values.get(START)
        stated = start if start is not None else self._start
        if self._start not in (None, stated) or fell(self._last, values):
            self._last, self._began_inside = {}, True
        elif start is not None and self._start is None and not self._last:
            self._began_inside = start >= self._since
        self._start = stated
        for series, value in counters(values).items():
            before = self._last.get(series)
            if before is None:
                # What stands at the beginning was moved before it.
                before = 0.0 if self._began_inside and at > self._since else value
            self._last[series] = value
            # Whole bytes at each release, so that parts of a day add up to the day.
            self._moved[series] = self._moved.get(series, 0) + int(value) - int(before)

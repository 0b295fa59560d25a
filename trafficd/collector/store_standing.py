"""Where a node stands: its newest release, and what of its run that one does not say."""

import sqlite3
from dataclasses import dataclass, field, fields

from trafficd.collector.slices import Slice
from trafficd.collector.store_coding import START, Layout, Values, values_in
from trafficd.collector.store_rows import Row, Rows
from trafficd.collector.store_runs import Runs, fell
from trafficd.series import Series, place

# Releases looked through for one that is whole; parts of a release come at about the same time.
_MOST_LOOKED_AT = 8


@dataclass(slots=True)
class Standing:
    """Where a node stands.

    *newest_at* is the time of its newest release, *at* that of its newest that tells its run. Of
    that one are *layout*, *totals* and *facts*, holes among them, and *facts_number*, their row.
    *series* is how its last message named the series of *layout*. *others* are values that its run
    had before and this release lacks. *marked_day* is one that will be summed up anyway.
    """

    newest_at: int = 0
    at: int = 0
    layout: Layout | None = None
    series: tuple[Series, ...] | None = None
    totals: Values = ()
    facts: bytes = b""
    facts_number: int | None = None
    run: int | None = None
    started_at: float | None = None
    others: dict[Series, float] = field(default_factory=dict)
    marked_day: int | None = None

    def own(self) -> dict[Series, float]:
        """Return the values of the newest release."""
        return self.layout.gather(self.totals, values_in(self.facts)) if self.layout else {}

    def values(self) -> dict[Series, float]:
        """Return the newest value of every series."""
        return {**self.others, **self.own()}

    def slice(self) -> Slice:
        """Return the newest value of every series as one slice."""
        values = self.own()
        if not self.others.keys() <= values.keys():
            values = self.values()
            values = {series: values[series] for series in sorted(values, key=place)}
        return Slice(self.at, tuple(values), tuple(values.values()))

    def become(self, other: "Standing") -> None:
        """Stand where *other* does."""
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))

    def take(self, row: Row, totals: Values, facts: bytes) -> None:
        """Have *row* be the newest release."""
        if row.layout is not self.layout:
            self.series = row.layout.series
        self.at, self.layout, self.facts_number = row.at, row.layout, row.facts
        self.totals, self.facts = totals, facts


def find_standing(
    connection: sqlite3.Connection, rows: Rows, runs: Runs, number: int
) -> Standing | None:
    """Return where node *number* stands by the file; None if it is nobody's number."""
    found = connection.execute("SELECT run FROM node WHERE number = ?", (number,)).fetchone()
    if found is None:
        return None
    standing = Standing(newest_at=rows.newest_at(number), run=found[0])
    run = None if standing.run is None else runs.numbered(standing.run)
    standing.started_at = run.started_at if run else None
    for row in rows.back_from(number, standing.newest_at, most=_MOST_LOOKED_AT):
        values = rows.values(row)
        if standing.started_at is not None and START not in values:
            continue
        if standing.layout is None:
            standing.take(row, rows.totals(row), rows.facts(row))
            if set(row.layout.series) == values.keys():
                break
            continue
        if values.get(START) != standing.started_at or fell(values, standing.values()):
            break
        standing.others = {**values, **standing.others}
    known = {**run.final, **standing.others} if run else standing.others
    own = standing.own()
    standing.others = {series: value for series, value in known.items() if series not in own}
    return standing

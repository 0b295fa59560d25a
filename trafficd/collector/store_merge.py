"""Messages that are not simply the next release of a node: late, in parts, again, or otherwise.

A release may come in parts, which are merged; what is there already changes nothing; another value
for what is there is refused, and with it the message that says it.
"""

import datetime
import sqlite3
from collections import Counter
from collections.abc import Sequence
from math import isfinite
from operator import lt
from typing import NamedTuple

from trafficd.collector.slices import MOST_SERIES, Slice
from trafficd.collector.store_coding import START, Layout, doubles, shorten, values_in
from trafficd.collector.store_daily import day_of
from trafficd.collector.store_layouts import Layouts
from trafficd.collector.store_rows import Row, Rows
from trafficd.collector.store_runs import Runs, counters, fell
from trafficd.collector.store_standing import Standing, find_standing
from trafficd.series import Series

# Chosen, for a node that somebody else has got hold of: what it may add to the file and to memory
# beside its releases. Counters of all its runs, so of some hundred classes that it had and has; its
# runs, of 27 years with a boot a day; and layouts while the collector runs, of which one that sends
# series by series makes one for each.
_MOST_COUNTERS_EVER = 4096
_MOST_RUNS = 10_000
_MOST_NEW_LAYOUTS = 2000


class _Plan(NamedTuple):
    """A release to be written: what is there of it, and all that is known with the message."""

    at: int
    there: Row | None
    values: dict[Series, float]


class Merger:
    """Stores what takes more than a look at where the node stands; within a transaction."""

    def __init__(
        self, connection: sqlite3.Connection, layouts: Layouts, rows: Rows, runs: Runs
    ) -> None:
        self._connection = connection
        self._layouts = layouts
        self._rows = rows
        self._runs = runs
        self._new_layouts: Counter[int] = Counter()

    def next(self, number: int, standing: Standing, said: Slice, marked: int) -> Row | None:
        """Take *said* as the next release of its node and return its row, still to be written.

        Returns None, and does nothing, if it is not whole or not simply the next one of its run.
        """
        layout, values = standing.layout, said.values
        if layout is None or said.at <= standing.newest_at or said.series != layout.series:
            return None
        totals, facts = layout.totals_of(values), layout.facts_of(values)
        before = values_in(standing.facts)
        is_less = any(map(lt, totals, standing.totals)) or any(map(lt, facts, before))
        if is_less or not all(map(isfinite, values)) or min(values, default=0) < 0:
            return None
        if layout.start is not None and facts[layout.start] != before[layout.start]:
            return None
        packed, facts_number = doubles(facts), standing.facts_number
        if packed != standing.facts:
            if facts_number is not None:
                self._rows.end_facts(facts_number, standing.at)
            facts_number = self._rows.facts_number(number, packed, None)
        row = Row(said.at, layout, facts_number, shorten(doubles(totals)))
        if said.at <= marked:
            self._mark(number, said.at)
            standing.marked_day = day_of(said.at)
        standing.newest_at = said.at
        standing.take(row, totals, packed)
        standing.series = said.series
        return row

    def store(
        self, number: int, standing: Standing, slices: Sequence[Slice], floor: int, marked: int
    ) -> str | None:
        """Store *slices* of node *number*, or return why not, and then nothing of them is stored.

        Units: releases up to *floor* have been given up; up to *marked*, days may be summed up.
        """
        plans = []
        for at, said in _by_time(slices).items():
            if isinstance(said, str):
                return said
            if at <= floor:
                return f"{_utc(at)}: before the history that is kept, which begins {_utc(floor)}"
            there = self._rows.one(number, at)
            known = self._rows.values(there) if there else {}
            for series, value in said.items():
                if known.get(series, value) != value:
                    return _conflict(series, at, known[series], value)
            if not said.keys() <= known.keys():
                plans.append(_Plan(at, there, {**known, **said}))
        if reason := self._too_much(number, standing, plans):
            return reason
        made_before = self._layouts.made
        for plan in sorted(plans):
            self._write(number, standing, plan)
            if plan.at <= marked:
                self._mark(number, plan.at)
        self._new_layouts[number] += self._layouts.made - made_before
        if standing.layout and slices and slices[-1].series == standing.layout.series:
            # The same object next time, most likely, and that is what is looked at.
            standing.series = slices[-1].series
        return None

    def _too_much(self, number: int, standing: Standing, plans: Sequence[_Plan]) -> str | None:
        """Return why *plans* would have a node fill the file with what is not traffic, if so."""
        for plan in plans:
            if len(plan.values) > MOST_SERIES:
                return f"{_utc(plan.at)}: at most {MOST_SERIES} series at one time"
        said = {series for plan in plans for series in plan.values}
        known = set(standing.values())
        if not said <= known:
            known.update(*(run.final for run in self._runs.of(number)))
            if not said <= known and len(said | known) > _MOST_COUNTERS_EVER:
                return (
                    f"at most {_MOST_COUNTERS_EVER} series of a node, all that it ever had among"
                    " them; add it by another name"
                )
        if self._runs.count(number) >= _MOST_RUNS and any(
            plan.values.get(START, standing.started_at) != standing.started_at
            or (plan.at >= standing.at and fell(standing.values(), plan.values))
            for plan in plans
        ):
            return f"at most {_MOST_RUNS} runs of a node; add it by another name"
        if self._new_layouts[number] >= _MOST_NEW_LAYOUTS and not all(
            self._layout_with_room(standing, plan) for plan in plans
        ):
            return "other series each time: a node says the same ones in every release"
        return None

    def _write(self, number: int, standing: Standing, plan: _Plan) -> None:
        at, there, values = plan
        layout = self._layout(standing, plan)
        spread = layout.spread(values)
        totals, facts = layout.totals_of(spread), doubles(layout.facts_of(spread))
        tells_run = START in values or standing.started_at is None
        advances = at >= standing.at and tells_run
        facts_number = None
        if facts != layout.no_facts:
            until = None if advances else at
            facts_number = self._rows.facts_number(number, facts, until)
        row = Row(at, layout, facts_number, shorten(doubles(totals)))
        self._connection.execute(
            "INSERT INTO release (at, node, layout, facts, body) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE"
            " SET layout = excluded.layout, facts = excluded.facts, body = excluded.body",
            (at, number, layout.number, facts_number, row.body),
        )
        if there and there.facts not in (None, facts_number, standing.facts_number):
            self._rows.end_facts(there.facts or 0, at)
        standing.newest_at = max(standing.newest_at, at)
        if START in values and standing.run is not None and standing.started_at is None:
            self._adopt_starts(number, standing)
        elif advances:
            self._advance(number, standing, row, values)
            standing.take(row, totals, facts)
        elif tells_run:
            self._extend_late(number, standing, at, values)

    def _mark(self, number: int, at: int) -> None:
        """Have the day of *at* summed up anew, and the next one, which counts from its end."""
        day = day_of(at)
        self._connection.execute(
            "INSERT OR IGNORE INTO stale (day, node)"
            " SELECT ?1, ?2 UNION"
            " SELECT min(day), ?2 FROM daily WHERE node = ?2 AND day > ?1 HAVING count(*)",
            (day, number),
        )

    def _layout(self, standing: Standing, plan: _Plan) -> Layout:
        """Return the layout to write a release in, a new one if need be."""
        return self._layout_with_room(standing, plan) or self._layouts.of(
            dict.fromkeys(plan.there.layout.series) | plan.values if plan.there else plan.values
        )

    def _layout_with_room(self, standing: Standing, plan: _Plan) -> Layout | None:
        """Return the layout of the newest release, or that of what is there, if it has room."""
        for layout in (standing.layout, plan.there and plan.there.layout):
            if layout is not None and plan.values.keys() <= set(layout.series):
                return layout
        return None

    def _advance(
        self, number: int, standing: Standing, row: Row, values: dict[Series, float]
    ) -> None:
        """Follow the run of a node to its newest release, which *row* is."""
        start, before = values.get(START), standing.values()
        if standing.facts_number not in (None, row.facts):
            self._rows.end_facts(standing.facts_number or 0, standing.at)
        current = None if standing.run is None else self._runs.numbered(standing.run)
        begins = standing.started_at != start or fell(before, values)
        if current is not None and (begins or row.layout is not standing.layout):
            self._runs.extend(current, standing.at, before)
        standing.others = {s: value for s, value in before.items() if s not in values}
        if current is None or begins:
            standing.run = self._runs.begin(number, start, row.at, values)
            self._runs.enter(number, standing.run)
            standing.others = {}
        standing.started_at = start

    def _extend_late(
        self, number: int, standing: Standing, at: int, values: dict[Series, float]
    ) -> None:
        """Follow the run of a release that is older than another of its node."""
        run = self._runs.find(number, values.get(START), at)
        if run is None:
            if START in values:
                self._runs.begin(number, values[START], at, values)
            return
        if run.number == standing.run:
            own = standing.own()
            # Larger than the newest as well, though only a sender whose totals fall says that.
            more = {
                series: value
                for series, value in counters(values).items()
                if value > own.get(series, standing.others.get(series, -1))
            }
            standing.others.update({each: more[each] for each in more.keys() - own.keys()})
            if not more and at >= run.first_at:
                return
        self._runs.extend(run, at, values)

    def _adopt_starts(self, number: int, standing: Standing) -> None:
        """Tell runs by their starts from now on, as the node has said one for the first time."""
        if standing.facts_number is not None:
            self._rows.end_facts(standing.facts_number, standing.at)
        self._runs.forget_all(number)
        for row in self._rows.between(number, 0, 1 << 62):
            values = self._rows.values(row)
            if START in values:
                run = self._runs.find(number, values[START], row.at)
                if run is None:
                    begun = self._runs.begin(number, values[START], row.at, values)
                    self._runs.enter(number, begun)
                else:
                    self._runs.extend(run, row.at, values)
                    self._runs.enter(number, run.number)
        found = find_standing(self._connection, self._rows, self._runs, number)
        if found is not None:
            standing.become(found)
            if standing.facts_number is not None:
                self._rows.hold_facts(standing.facts_number)


def _by_time(slices: Sequence[Slice]) -> dict[int, dict[Series, float] | str]:
    """Return the values by time and series; in the place of values, why they cannot be."""
    found: dict[int, dict[Series, float] | str] = {}
    for each in slices:
        said = found.setdefault(each.at, {})
        if isinstance(said, str):
            continue
        for series, value in zip(each.series, each.values, strict=True):
            if not isfinite(value) or value < 0:
                found[each.at] = f"{series}: {value}: not a finite number from 0 on"
                break
            if said.setdefault(series, value) != value:
                found[each.at] = _conflict(series, each.at, said[series], value)
                break
    return {at: said for at, said in found.items() if said}


def _conflict(series: Series, at: int, there: float, said: float) -> str:
    return (
        f"{series}: {said:.17g} for {_utc(at)}, which has {there:.17g}:"
        " what was released once does not change"
    )


def _utc(at: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%d %H:%M UTC}"

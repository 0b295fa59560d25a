"""What was found out, as tables for people."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal

import msgspec
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trafficd.planning.answers import Asked
from trafficd.planning.daily import Floats
from trafficd.planning.document import (
    Band,
    Bill,
    Crossing,
    Growth,
    PlacePercentiles,
    Ranking,
    Summary,
    Threshold,
    WhatIf,
)
from trafficd.planning.report import Found, Kind
from trafficd.planning.wording import NOTHING, change, counted, day, rate, share

_BARS = "▁▂▃▄▅▆▇█"
_WEEKS_SHOWN = 26
_ALL_OF_IT = 10_000
_DATE = len("2026-11-24")


def console() -> Console:
    """Return standard output, where names stand as they are, and lines are as long as they are.

    Only a terminal has a width.
    """
    width = None if sys.stdout.isatty() else _ALL_OF_IT
    return Console(markup=False, emoji=False, highlight=False, width=width)


def working(what: str) -> AbstractContextManager[object]:
    """Show on standard error that *what* is going on, where that is a terminal."""
    return Console(stderr=True).status(what)


def sparkline(values: Floats) -> str:
    """Return the means of up to half a year of weeks as bars; a blank where nothing is known."""
    weeks = values[len(values) % 7 :].reshape(-1, 7)[-_WEEKS_SHOWN:]
    known = [week[~np.isnan(week)] for week in weeks]
    means = [float(week.mean()) if len(week) else None for week in known]
    highest = max((mean for mean in means if mean is not None), default=0.0)
    top = len(_BARS) - 1
    return "".join(
        " " if mean is None else _BARS[round(mean / highest * top) if highest else 0]
        for mean in means
    )


def show_ranking(ranking: Ranking) -> None:
    """Print the locations, the one to expand next first, each with why."""
    out = console()
    if ranking.as_of is None:
        out.print(ranking.reason)
        return
    out.print(_summaries(ranking.ranking, ranking.order_at))
    for number, each in enumerate(ranking.ranking, 1):
        out.print(f"{number}. {each.name}: {each.sentence}")
        for note in each.notes:
            out.print(f"   {note}", style="dim")
    out.print(
        f"\nAs of the end of {day(ranking.as_of)}, UTC; an order takes "
        f"{counted(ranking.lead_days)}; a window holds four times in five.",
        style="dim",
    )


def show_what_if(found: WhatIf, order_at: float) -> None:
    """Print what was supposed, and the ranking before and after."""
    out = console()
    for each in found.supposed or ["nothing"]:
        out.print(f"Supposed: {each}.")
    out.print("\nas it is", style="bold")
    out.print(_summaries(found.before, order_at))
    out.print("as it would be", style="bold")
    out.print(_summaries(found.after, order_at))
    for summary in found.after:
        out.print(f"{summary.name}: {summary.sentence}")


def show_percentiles(found: Sequence[PlacePercentiles]) -> None:
    """Print the percentiles of a billing period, their bills, and what they rest on."""
    out = console()
    table = _table(
        *("place", "p95 receive", "transmit", "greater", "sum", "at most", "slots seen"),
        justify=True,
    )
    for each in found:
        said = each.percentiles
        table.add_row(
            each.name,
            rate(said.receive_bits_per_second),
            rate(said.transmit_bits_per_second),
            rate(said.highest_bits_per_second),
            rate(said.both_bits_per_second),
            rate(said.upper_bound_bits_per_second),
            f"{said.slots_seen:,} of {said.slots_expected:,}",
        )
    out.print(table)
    with_bill = [(each.name, each.bill) for each in found if each.bill]
    if with_bill:
        bills = _table(
            *("place", "commit", "room", "slots above", "bill to date", "projected"), justify=True
        )
        for name, bill in with_bill:
            bills.add_row(name, *_bill(bill))
        out.print(bills)
    for each in found[:1]:
        out.print(f"From {each.percentiles.begin} to {each.percentiles.end}.", style="dim")
    for each in found:
        said = each.percentiles
        error = said.error_bits_per_second
        sure = "" if not error else f", to {rate(error)}"
        out.print(f"{each.name}: {said.resolution}{sure}.", style="dim")
        for note in said.notes:
            out.print(f"  {note}", style="dim")


def show_forecasts(asked: Sequence[Asked], found: Found[Band]) -> None:
    """Print what is expected in a week, in a month, and at the end of the horizon."""
    table = _table("series", "the weeks before")
    bands = [each for each in found.values() if not isinstance(each, str)]
    # They are all as long.
    days = sorted({min(number, len(each)) for each in bands for number in (7, 30, len(each))})
    for number in days:
        table.add_column(f"in {counted(number)} (80 %)", justify="right")
    for each in asked:
        rows = found[each.series.name]
        if not isinstance(rows, str):
            write = rate if each.is_rate else "{:.4g}".format
            cells = (_expected(rows[number - 1], write) for number in days)
            table.add_row(each.series.name, sparkline(each.series.values), *cells)
    _show(table, found)


def show_thresholds(asked: Sequence[Asked], found: Found[Threshold], lead_days: int) -> None:
    """Print when thresholds are reached, and of the others why that cannot be told."""
    table = _table(
        *("series", "reaches", "between (80 %)", "and", f"order by ({lead_days} days before)")
    )
    reasons = []
    for each in asked:
        rows = found[each.series.name]
        for row in () if isinstance(rows, str) else rows:
            mark = _mark(row.threshold, each)
            if row.reason is None:
                told = (day(row.first), day(row.last), day(row.order_by))
                table.add_row(each.series.name, mark, *told)
            else:
                reasons.append(f"{each.series.name}, {mark}: {row.reason}.")
    _show(table, found, reasons)


def show_rows(found: Found[Kind], headings: Mapping[str, str]) -> None:
    """Print every document under *headings*, by the name of the value; a reason where none are."""
    table = _table("series", *headings.values())
    for name, rows in found.items():
        for row in () if isinstance(rows, str) else rows:
            values = msgspec.to_builtins(row)
            table.add_row(name, *(_cell(values[each]) for each in headings))
    _show(table, found)


def _show(table: Table, found: Found[Kind], reasons: Sequence[str] = ()) -> None:
    """Print *table* if it has something, and why the rest of what was asked has none."""
    out = console()
    if table.row_count:
        out.print(table)
    for reason in reasons:
        out.print(reason)
    for name, rows in found.items():
        if isinstance(rows, str):
            out.print(f"{name}: {rows}.")


def _summaries(summaries: Sequence[Summary], order_at: float) -> Table:
    table = _table("location", "nodes", "capacity", "p95, 30 days", "of it", justify=True)
    table.add_column("growth (80 %)", justify="right")
    table.add_column(f"{share(order_at)} reached between", justify="right", min_width=_DATE)
    table.add_column("order by", justify="right", min_width=_DATE)
    for each in summaries:
        crossing = next((one for one in each.crossings if one.threshold == order_at), None)
        table.add_row(
            each.name,
            str(each.nodes),
            rate(each.capacity_bits_per_second),
            rate(each.p95_bits_per_second),
            share(each.utilisation),
            _growth(each.growth),
            _window(crossing),
            Text(day(each.order_by), style="bold" if each.order_by else "dim"),
        )
    return table


def _growth(growth: Growth | None) -> str:
    if growth is None:
        return NOTHING
    span = f"{change(growth.low_80)} to {change(growth.high_80)}"
    return f"{change(growth.point)} in {growth.days} d ({span})"


def _window(crossing: Crossing | None) -> str:
    if crossing is None or crossing.first is None:
        return NOTHING
    return f"{day(crossing.first)} and {day(crossing.last)}"


def _bill(bill: Bill) -> list[str]:
    above = f"{bill.slots_above_least:,}"
    if bill.slots_above_most != bill.slots_above_least:
        above += f" to {bill.slots_above_most:,}"
    return [
        rate(bill.commit_bits_per_second),
        f"{'-' if bill.room_bits_per_second < 0 else ''}{rate(abs(bill.room_bits_per_second))}",
        above,
        NOTHING if bill.to_date is None else f"{bill.to_date:,.2f}",
        NOTHING if bill.projected is None else f"{bill.projected:,.2f}",
    ]


def _mark(threshold: float, of: Asked) -> str:
    """Return a threshold in the unit of its series, with the part of the capacity that it is."""
    if not of.is_rate or not of.capacity:
        return f"{threshold:.4g}"
    return f"{share(threshold / of.capacity)}, {rate(threshold)}"


def _table(*headings: str, justify: bool = False) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, heading in enumerate(headings):
        # Names are folded and not cut.
        side: Literal["left", "right"] = "right" if justify and number else "left"
        table.add_column(heading, justify=side, overflow="fold")
    return table


def _expected(band: Band, write: Callable[[float], str]) -> str:
    return f"{write(band.point)} ({write(band.low_80)} to {write(band.high_80)})"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

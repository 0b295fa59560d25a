"""What was found out, as tables for people."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

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
    Crossing,
    Growth,
    PlacePercentiles,
    Ranking,
    Summary,
    WhatIf,
)
from trafficd.planning.report import Found, Kind
from trafficd.planning.wording import NOTHING, change, day, rate, share

_BARS = "▁▂▃▄▅▆▇█"
_WEEKS_SHOWN = 26


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
    console = Console()
    if ranking.as_of is None:
        console.print(ranking.reason)
        return
    console.print(_summaries(ranking.ranking, ranking.order_at))
    for number, each in enumerate(ranking.ranking, 1):
        console.print(f"{number}. {each.name}: {each.sentence}", highlight=False)
        for note in each.notes:
            console.print(f"   {note}", style="dim", highlight=False)
    console.print(
        f"\nAs of the end of {day(ranking.as_of)}, UTC; an order takes {ranking.lead_days} days; "
        "a window holds four times in five.",
        style="dim",
        highlight=False,
    )


def show_what_if(found: WhatIf, order_at: float) -> None:
    """Print what was supposed, and the ranking before and after."""
    console = Console()
    for each in found.supposed:
        console.print(f"Supposed: {each}.", highlight=False)
    console.print("\nas it is", style="bold")
    console.print(_summaries(found.before, order_at))
    console.print("as it would be", style="bold")
    console.print(_summaries(found.after, order_at))


def show_percentiles(found: Sequence[PlacePercentiles]) -> None:
    """Print the percentiles of a billing period, and what they rest on."""
    console = Console()
    table = _table(
        *("place", "p95 receive", "transmit", "greater", "sum", "at most", "slots seen"),
        justify=True,
    )
    with_bill = [each for each in found if each.bill]
    if with_bill:
        for heading in ("commit", "room", "slots above", "to date", "projected"):
            table.add_column(heading, justify="right")
    for each in found:
        said = each.percentiles
        row = [
            each.name,
            rate(said.receive_bits_per_second),
            rate(said.transmit_bits_per_second),
            rate(said.highest_bits_per_second),
            rate(said.both_bits_per_second),
            rate(said.upper_bound_bits_per_second),
            f"{said.slots_seen:,} of {said.slots_expected:,}",
        ]
        if with_bill:
            row += _bill(each)
        table.add_row(*row)
    console.print(table)
    if found:
        said = found[0].percentiles
        console.print(f"From {said.begin} to {said.end}.", style="dim", highlight=False)
    for each in found:
        said = each.percentiles
        error = said.error_bits_per_second
        sure = "" if not error else f", to {rate(error)}"
        console.print(f"{each.name}: {said.resolution}{sure}.", style="dim", highlight=False)
        for note in said.notes:
            console.print(f"  {note}", style="dim", highlight=False)


def show_forecasts(asked: Sequence[Asked], found: Found[Band]) -> None:
    """Print what is expected in a week, in a month, and at the end of the horizon."""
    table = _table("series", "the weeks before")
    days: list[int] = []
    for each in asked:
        bands = found[each.series.name]
        if not days and not isinstance(bands, str):
            days = sorted({min(number, len(bands)) for number in (7, 30, len(bands))})
            for number in days:
                table.add_column(f"in {number} days (80 %)", justify="right")
        bars = sparkline(each.series.values)
        if isinstance(bands, str):
            table.add_row(each.series.name, bars, Text(bands, style="dim"))
        else:
            write = rate if each.capacity else "{:.4g}".format
            cells = (_expected(bands[number - 1], write) for number in days)
            table.add_row(each.series.name, bars, *cells)
    Console().print(table)


def show_rows(found: Found[Kind], headings: Mapping[str, str]) -> None:
    """Print every document under *headings*, by the name of the value; a reason where none are."""
    table = _table("series", *headings.values())
    for name, rows in found.items():
        if isinstance(rows, str):
            table.add_row(name, Text(rows, style="dim"))
            continue
        for number, row in enumerate(rows):
            values = msgspec.to_builtins(row)
            table.add_row("" if number else name, *(_cell(values[each]) for each in headings))
    Console().print(table)


def _summaries(summaries: Sequence[Summary], order_at: float) -> Table:
    table = _table("location", "nodes", "capacity", "p95, 30 days", "of capacity", justify=True)
    table.add_column("growth (80 %)", justify="right")
    table.add_column(f"{share(order_at)} reached between", justify="right")
    table.add_column("order by", justify="right")
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


def _bill(each: PlacePercentiles) -> list[str]:
    bill = each.bill
    if bill is None:
        return [NOTHING] * 5
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


def _table(*headings: str, justify: bool = False) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if justify and number else "left")
    return table


def _expected(band: Band, write: Callable[[float], str]) -> str:
    return f"{write(band.point)} ({write(band.low_80)} to {write(band.high_80)})"


def _cell(value: object) -> str:
    if value is None:
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float) else str(value)

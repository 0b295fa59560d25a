"""What was found out, as tables for people."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trafficd.planning.daily import DailySeries, Floats
from trafficd.planning.report import Found, Row

_BARS = "▁▂▃▄▅▆▇█"
_WEEKS_SHOWN = 26
_NOTHING = "-"


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


def show_forecasts(series: Sequence[DailySeries], found: Found) -> None:
    """Print what is expected in a week, in a month, and at the end of the horizon."""
    table = _table("series", "the weeks before")
    days: list[int] = []
    for each in series:
        rows = found[each.name]
        if not days and not isinstance(rows, str):
            days = sorted({min(day, len(rows)) for day in (7, 30, len(rows))})
            for day in days:
                table.add_column(f"in {day} days (80 %)", justify="right")
        bars = sparkline(each.values)
        if isinstance(rows, str):
            table.add_row(each.name, bars, Text(rows, style="dim"))
        else:
            table.add_row(each.name, bars, *(_expected(rows[day - 1]) for day in days))
    Console().print(table)


def show_rows(found: Found, headings: Mapping[str, str]) -> None:
    """Print every row under *headings*, by the name of the field; a reason where there are none."""
    table = _table("series", *headings.values())
    for name, rows in found.items():
        if isinstance(rows, str):
            table.add_row(name, Text(rows, style="dim"))
            continue
        for number, row in enumerate(rows):
            cells = (_cell(row[field]) for field in headings)
            table.add_row("" if number else name, *cells)
    Console().print(table)


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading)
    return table


def _expected(row: Row) -> str:
    return f"{row['point']:.4g} ({row['low_80']:.4g} to {row['high_80']:.4g})"


def _cell(value: object) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.4g}" if isinstance(value, float) else str(value)

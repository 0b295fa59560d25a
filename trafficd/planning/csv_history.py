"""Series from elsewhere: a file with a column of days and one column a series.

Shape: a header `date,NAME,...`, then a row a day, dates as 2026-11-24 in any order; an empty cell
is a day of which nothing is known, and so is a day without a row. All values are in one unit.
"""

import csv
import math
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from trafficd.errors import HistoryError
from trafficd.planning.daily import DailySeries

# A century: what is longer is a typing mistake in a year.
_MOST_DAYS = 36_525
# A hundred megabytes in memory: a thousand series over thirty years.
_MOST_VALUES = 12_000_000
_LAST_YEAR = 9900
# Far beyond all traffic, in whatever unit; the squares of what is larger have no number.
_LARGEST = 1e100
# Of what stands in a cell, so much is quoted.
_MOST_QUOTED = 40


def read_csv(file: Path) -> list[DailySeries]:
    """Return the series of *file*, in the order of its columns, all over the same days.

    Raises: HistoryError with the line, if it cannot be read.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return _parsed(lines, str(file))
    except OSError as error:
        raise HistoryError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise HistoryError(f"{file}: not a CSV file in UTF-8: {error}") from error


def _parsed(lines: Iterable[str], source: str) -> list[DailySeries]:
    reader = csv.reader(lines)
    names = _names(next(reader, []), source)
    rows: dict[date, list[float]] = {}
    for cells in reader:
        where = f"{source}, line {reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names) + 1:
            raise HistoryError(f"{where}: {len(cells)} cells under {len(names) + 1} headings")
        day = _day(cells[0], where)
        if day in rows:
            raise HistoryError(f"{where}: a second row of {day}")
        rows[day] = [_value(cell, where) for cell in cells[1:]]
    if not rows:
        raise HistoryError(f"{source}: no days in it")
    first, last = min(rows), max(rows)
    days = (last - first).days + 1
    if days > _MOST_DAYS:
        raise HistoryError(f"{source}: from {first} to {last} is more than a century")
    missing = [math.nan] * len(names)
    if days * len(names) > _MOST_VALUES:
        raise HistoryError(
            f"{source}: {len(names):,} series over {days:,} days are too many; keep fewer columns"
        )
    table = np.array([rows.get(first + timedelta(days=each), missing) for each in range(days)])
    return [DailySeries(name, first, table[:, column]) for column, name in enumerate(names)]


def _names(header: list[str], source: str) -> list[str]:
    heading, *names = [each.strip() for each in header] or [""]
    if heading != "date" or not names:
        raise HistoryError(f"{source}: the first line has to be: date, then a name a series")
    known: set[str] = set()
    for name in names:
        if not name or name in known or not name.isprintable():
            raise HistoryError(
                f"{source}: each series takes a name of its own; {_quoted(name)} is none"
            )
        known.add(name)
    return names


def _day(cell: str, where: str) -> date:
    try:
        day = date.fromisoformat(cell.strip())
    except ValueError as error:
        raise HistoryError(f"{where}: {_quoted(cell)} is not a date like 2026-11-24") from error
    # A forecast goes on from there, for years.
    if day.year > _LAST_YEAR:
        raise HistoryError(f"{where}: {day} is too late for days after it")
    return day


def _value(cell: str, where: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        value = float(cell)
    except ValueError as error:
        raise HistoryError(f"{where}: {_quoted(cell)} is not a number") from error
    if not 0 <= value <= _LARGEST:
        raise HistoryError(
            f"{where}: {_quoted(cell)} is not a number from 0 to {_LARGEST:g}; leave it empty where"
            " nothing is known"
        )
    return value


def _quoted(cell: str) -> str:
    return repr(cell if len(cell) <= _MOST_QUOTED else f"{cell[:_MOST_QUOTED]}…")

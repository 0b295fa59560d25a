"""trafficd plan: what a history says of the days to come, and how good its word has been."""

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from trafficd.errors import HistoryTooShortError, TrafficdError

if TYPE_CHECKING:
    from trafficd.planning.daily import DailySeries
    from trafficd.planning.report import Found, Row

EXAMPLE = "trafficd plan forecast --history csv:uplinks.csv --horizon 90"
SUMMARY = "forecast what a history grows to, when it reaches a threshold, and how sure that is"
_NEEDED = ("numpy", "rich")
_MOST_DAYS = 3650


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    commands = parser.add_subparsers(required=True, metavar="QUESTION")

    def declare(
        name: str, do: Callable[[argparse.Namespace], int], summary: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        command.set_defaults(do=do)
        command.add_argument("--history", required=True, metavar="csv:FILE")
        command.add_argument(
            "--series", action="append", default=[], metavar="NAME", help="only this; repeatable"
        )
        command.add_argument(
            "--as-of", type=_day, metavar="DATE", help="forget what came after that day"
        )
        form = command.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print one JSON object")
        form.add_argument("--csv", action="store_true", help="print a line for each row")
        return command

    forecast = declare("forecast", _forecast, "what each day is expected to bring")
    forecast.add_argument("--horizon", type=_days, default=90, metavar="DAYS")
    saturation = declare("saturation", _saturation, "when a threshold is reached, as a window")
    saturation.add_argument(
        "--threshold",
        type=_threshold,
        action="append",
        required=True,
        metavar="VALUE",
        help="in the unit of the history; repeatable",
    )
    saturation.add_argument(
        "--lead-days", type=_days, default=60, metavar="DAYS", help="from an order to its use"
    )
    declare("backtest", _backtest, "what the method would have said in the past, and what came")


def run(arguments: argparse.Namespace) -> int:
    """Answer what is asked; return 1 if no series could be answered."""
    missing = [each for each in _NEEDED if importlib.util.find_spec(each) is None]
    if missing:
        raise TrafficdError(f"plan needs {missing[0]}: pip install 'trafficd[planning]'")
    return int(arguments.do(arguments))


def _forecast(arguments: argparse.Namespace) -> int:
    from trafficd.planning.forecast import forecast
    from trafficd.planning.report import forecast_rows
    from trafficd.planning.table import show_forecasts

    series = _history(arguments)
    found = _each(series, lambda each: forecast_rows(forecast(each, arguments.horizon)))
    if not _print_document(arguments, found):
        show_forecasts(series, found)
    return _code(found)


def _saturation(arguments: argparse.Namespace) -> int:
    from trafficd.planning.forecast import Method
    from trafficd.planning.report import saturation_rows
    from trafficd.planning.saturation import saturation
    from trafficd.planning.table import show_rows

    found = _each(
        _history(arguments),
        lambda each: saturation_rows(
            saturation(Method(each), arguments.threshold), arguments.lead_days
        ),
    )
    headings = {
        "threshold": "reaches",
        "first": "between (80 %)",
        "last": "and",
        "order_by": f"order by ({arguments.lead_days} days before)",
        "reason": "why not",
    }
    if not _print_document(arguments, found):
        show_rows(found, headings)
    return _code(found)


def _backtest(arguments: argparse.Namespace) -> int:
    from trafficd.planning.backtest import FEWEST_DAYS, backtest
    from trafficd.planning.forecast import Method
    from trafficd.planning.report import backtest_rows
    from trafficd.planning.table import show_rows

    def scored(each: "DailySeries") -> "list[Row]":
        method = Method(each)
        scores = backtest(method)
        if not scores:
            raise HistoryTooShortError(
                f"{len(method.series.values)} days of history; a backtest takes {FEWEST_DAYS}"
            )
        return backtest_rows(scores)

    found = _each(_history(arguments), scored)
    headings = {
        "horizon_days": "days ahead",
        "forecasts": "forecasts made",
        "smape_percent": "error, SMAPE %",
        "covered_80": "share in the 80 % band",
        "covered_95": "in the 95 % band",
        "width_80": "width of the 80 % band, of the point",
    }
    if not _print_document(arguments, found):
        show_rows(found, headings)
    return _code(found)


def _history(arguments: argparse.Namespace) -> "list[DailySeries]":
    from trafficd.planning.history import read_history

    return read_history(arguments.history, names=arguments.series, as_of=arguments.as_of)


def _each(series: "Sequence[DailySeries]", ask: "Callable[[DailySeries], list[Row]]") -> "Found":
    """Return what *ask* says of each of *series*, or why it says nothing."""
    found: dict[str, list[Row] | str] = {}
    for each in series:
        try:
            found[each.name] = ask(each)
        except HistoryTooShortError as error:
            found[each.name] = str(error)
    return found


def _print_document(arguments: argparse.Namespace, found: "Found") -> bool:
    from trafficd.planning.report import as_csv, as_json

    if arguments.json:
        print(as_json(found))
    elif arguments.csv:
        print(as_csv(found), end="")
    return bool(arguments.json or arguments.csv)


def _code(found: "Found") -> int:
    return int(all(isinstance(each, str) for each in found.values()))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2026-11-24") from error


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days, 1 to {_MOST_DAYS}")
    return int(text)


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number above 0")
    return value

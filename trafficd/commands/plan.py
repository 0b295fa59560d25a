"""trafficd plan: what a history says of the days to come, and how good its word has been."""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from io import TextIOWrapper
from typing import TYPE_CHECKING

from trafficd.clock import SystemClock
from trafficd.commands import plan_arguments as write
from trafficd.commands.plan_arguments import LEVELS, THRESHOLDS, crossed
from trafficd.errors import HistoryError, TrafficdError

if TYPE_CHECKING:
    from trafficd.planning.answers import Asked
    from trafficd.planning.history import History
    from trafficd.planning.planner import Planner
    from trafficd.planning.report import Found, Kind

EXAMPLE = "trafficd plan rank --history sqlite:/var/lib/trafficd/collector.db"
SUMMARY = "what to order and by when: ranking, percentiles, forecasts, saturation, what-if"
_NEEDED = ("numpy", "rich")
_DAY_SECONDS = 24 * 60 * 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    questions = parser.add_subparsers(required=True, metavar="QUESTION")
    everything, places, series = write.of_all(), write.of_places(), write.of_series()

    def declare(
        name: str,
        do: Callable[[argparse.Namespace], int],
        summary: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        question = questions.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            parents=[everything, *parents],
        )
        question.set_defaults(do=do)
        return question

    rank = declare("rank", _rank, "which location to expand next, and why", places)
    write.add_fail_above(
        rank, write.part, "SHARE", "a location's p95 is above that part of its capacity"
    )
    p95 = declare("p95", _p95, "95th percentiles of a billing period, and the bill")
    p95.add_argument("--level", action="append", choices=LEVELS, help="repeatable; default: all")
    p95.add_argument(
        "--in", dest="period", type=write.day, metavar="DATE", help="a day of the period"
    )
    p95.add_argument(
        "--first-day", type=write.month_day, default=1, metavar="DAY", help="of a period"
    )
    p95.add_argument("--time-zone", default="UTC", metavar="NAME", help="like Europe/Berlin")
    p95.add_argument("--method", choices=("ceil", "librenms"), default="ceil")
    p95.add_argument(
        "--commit",
        action="append",
        type=write.commit,
        default=[],
        metavar="[PLACE=]RATE",
        help="like 10Gbit, or fra=10Gbit; repeatable",
    )
    p95.add_argument(
        "--price", type=write.positive, metavar="NUMBER", help="of a Mbit/s of a period"
    )
    write.add_fail_above(p95, write.bit_rate, "RATE", "a percentile is above it")
    forecast = declare("forecast", _forecast, "what each day is expected to bring", series)
    forecast.add_argument("--horizon", type=write.days, default=90, metavar="DAYS")
    write.add_fail_above(forecast, write.positive, "VALUE", "a day of a forecast is above it")
    saturation = declare("saturation", _saturation, "when a threshold is reached", series)
    saturation.add_argument(
        "--threshold",
        type=write.positive,
        action="append",
        metavar="VALUE",
        help="a part of the capacity, or in the unit of a CSV file; repeatable",
    )
    saturation.add_argument(
        "--lead-days", type=write.days, default=60, metavar="DAYS", help="from an order to its use"
    )
    what_if = declare("whatif", _what_if, "the ranking if something were otherwise", places)
    for kind, form, meaning in (
        ("growth", "PERCENT", "a year, on top of what is expected"),
        ("add", "LOCATION:RATE", "another uplink there"),
        ("capacity", "NODE:RATE", "another capacity of an uplink"),
        ("lose-node", "NODE", "the others in its location carry its load"),
        ("lose-location", "LOCATION", "the others carry its load"),
        ("move", "FROM:TO:PERCENT", "so much of a location's traffic"),
    ):
        what_if.add_argument(
            f"--{kind}", dest="supposed", action=write.Suppose, metavar=form, help=meaning
        )
    write.add_fail_above(
        what_if, write.part, "SHARE", "a location would be above that part of its capacity"
    )
    declare("backtest", _backtest, "what would have been said in the past, and what came", series)


def run(arguments: argparse.Namespace) -> int:
    """Answer what is asked.

    Returns 1 if nothing could be answered, and 3 if what --fail-above names is crossed.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        if arguments.json or arguments.csv:
            sys.stdout.reconfigure(encoding="utf-8")
        else:
            # A terminal that lacks a sign shows another.
            sys.stdout.reconfigure(errors="replace")
    missing = [each for each in _NEEDED if importlib.util.find_spec(each) is None]
    if missing:
        raise TrafficdError(f"plan needs {missing[0]}: pip install 'trafficd[planning]'")
    return int(arguments.do(arguments))


# ---- what is asked of places ----


def _rank(arguments: argparse.Namespace) -> int:
    from trafficd.planning.report import csv_lines, flat, indented
    from trafficd.planning.table import show_ranking, working

    with working("reading the history"):
        found = _planner(arguments).ranking(_until(arguments))
    if arguments.json:
        print(indented(found))
    elif arguments.csv:
        print(csv_lines([flat(each) for each in found.ranking]), end="")
        if found.reason is not None:
            raise HistoryError(found.reason)
    else:
        show_ranking(found)
    if found.as_of is None:
        return 1
    return crossed(arguments, (each.utilisation for each in found.ranking))


def _what_if(arguments: argparse.Namespace) -> int:
    from trafficd.planning.report import csv_lines, flat, indented
    from trafficd.planning.table import show_what_if, working

    planner = _planner(arguments)
    with working("reading the history"):
        planner.read(_until(arguments))
        found = planner.what_if(arguments.supposed or [])
    if arguments.json:
        print(indented(found))
    elif arguments.csv:
        print(csv_lines([flat(each) for each in found.after]), end="")
    else:
        show_what_if(found, arguments.order_at)
    return crossed(arguments, (each.utilisation for each in found.after))


def _p95(arguments: argparse.Namespace) -> int:
    from trafficd.planning.answers import Billing, percentiles
    from trafficd.planning.percentile import Method
    from trafficd.planning.period import billing_period, time_zone
    from trafficd.planning.places import Level, places
    from trafficd.planning.planner import NOTHING
    from trafficd.planning.report import csv_lines, flat_percentiles, indented
    from trafficd.planning.table import show_percentiles, working
    from trafficd.planning.wording import some

    until = _until(arguments)
    day = arguments.period or until
    period = billing_period(day, arguments.first_day, time_zone(arguments.time_zone))
    end = int(datetime(until.year, until.month, until.day, tzinfo=UTC).timestamp()) + _DAY_SECONDS
    if period.begin >= end:
        raise HistoryError(
            f"--in {day}: no day of that period is over; the last that is, is {until}"
        )
    history = _history(arguments)
    with working("reading the history"):
        nodes = [each for each in history.days(until) if each.days]
        if not nodes:
            raise HistoryError(NOTHING)
        found_places = places(nodes, until)
        names = {each.name for each in found_places}
        unknown = sorted({name for name, _ in arguments.commit if name} - names)
        if unknown:
            raise HistoryError(
                f"--commit {unknown[0]}: no such place; there are {some(sorted(names))}"
            )
        windows = history.windows(period.begin - _DAY_SECONDS, min(period.end, end))
        found = percentiles(
            found_places,
            nodes,
            {each.node: each for each in windows},
            Billing(period, Method(arguments.method), dict(arguments.commit), arguments.price, end),
            [Level(each) for each in arguments.level or LEVELS],
        )
    if arguments.json:
        print(indented(found))
    elif arguments.csv:
        print(csv_lines([flat_percentiles(each) for each in found]), end="")
    else:
        show_percentiles(found)
    highest = [each.percentiles.highest_bits_per_second for each in found]
    if all(each is None for each in highest):
        return 1
    return crossed(arguments, highest)


# ---- what is asked of series ----


def _forecast(arguments: argparse.Namespace) -> int:
    from trafficd.planning.answers import forecasts
    from trafficd.planning.table import show_forecasts, working

    asked = _asked(arguments)
    with working("forecasting"):
        found = forecasts(asked, arguments.horizon)
    if not _print_document(arguments, found):
        show_forecasts(asked, found)
    points = (each.point for rows in found.values() if not isinstance(rows, str) for each in rows)
    return _code(found) or crossed(arguments, points)


def _saturation(arguments: argparse.Namespace) -> int:
    from trafficd.planning.answers import saturations
    from trafficd.planning.table import show_thresholds, working

    thresholds = arguments.threshold
    if not thresholds:
        if arguments.history.startswith("csv:"):
            raise HistoryError(
                "--threshold: a CSV file states no capacity; say what is to be reached"
            )
        thresholds = THRESHOLDS
    asked = _asked(arguments)
    with working("forecasting"):
        found = saturations(asked, thresholds, arguments.lead_days)
    if not _print_document(arguments, found):
        show_thresholds(asked, found, arguments.lead_days)
    return _code(found)


def _backtest(arguments: argparse.Namespace) -> int:
    from trafficd.planning.answers import backtests
    from trafficd.planning.table import show_rows, working

    asked = _asked(arguments)
    with working("forecasting as in the past"):
        found = backtests(asked)
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


def _asked(arguments: argparse.Namespace) -> "list[Asked]":
    from trafficd.planning.answers import Asked, asked_of
    from trafficd.planning.history import read_series
    from trafficd.planning.places import Level, Measure, places
    from trafficd.planning.planner import NOTHING
    from trafficd.planning.table import working
    from trafficd.planning.wording import some

    if arguments.history.startswith("csv:"):
        found = read_series(arguments.history, names=arguments.series, as_of=arguments.as_of)
        return [Asked(each) for each in found]
    if not arguments.history.startswith(("sqlite:", "prometheus:")):
        raise HistoryError(
            f"--history {arguments.history}: has to be csv:FILE, sqlite:FILE or prometheus:URL"
        )
    until = _until(arguments)
    with working("reading the history"):
        nodes = [each for each in _history(arguments).days(until) if each.days]
        if not nodes:
            raise HistoryError(NOTHING)
        last = max(each.last for each in nodes)
        levels = [Level(each) for each in arguments.level or LEVELS]
        asked = asked_of(places(nodes, min(last, until)), Measure(arguments.measure), levels)
    unknown = sorted(set(arguments.series) - {each.series.name for each in asked})
    if unknown:
        known = some([each.series.name for each in asked])
        raise HistoryError(f"--series {unknown[0]}: there are {known}")
    return [each for each in asked if not arguments.series or each.series.name in arguments.series]


# ---- what they have in common ----


def _planner(arguments: argparse.Namespace) -> "Planner":
    from trafficd.planning.outlook import Terms
    from trafficd.planning.planner import Planner

    thresholds = tuple(arguments.threshold or THRESHOLDS)
    terms = Terms(thresholds, arguments.order_at, arguments.lead_days)
    return Planner(_history(arguments), terms, forgets=arguments.as_of is not None)


def _history(arguments: argparse.Namespace) -> "History":
    from trafficd.planning.sources import Access, open_history

    access = Access(
        user_file=arguments.user_file,
        bearer_token_file=arguments.bearer_token_file,
        ca_file=arguments.ca_file,
        headers=dict(arguments.header),
    )
    return open_history(arguments.history, access)


def _until(arguments: argparse.Namespace) -> date:
    """Return the last day that counts: yesterday, in UTC, unless another is asked for."""
    today = datetime.fromtimestamp(SystemClock().now().utc_seconds, UTC).date()
    yesterday = today - timedelta(days=1)
    if arguments.as_of is not None and arguments.as_of > yesterday:
        raise HistoryError(f"--as-of {arguments.as_of}: that day is not over in UTC")
    return arguments.as_of or yesterday


def _print_document(arguments: argparse.Namespace, found: "Found[Kind]") -> bool:
    from trafficd.planning.report import as_csv, as_json

    if arguments.json:
        print(as_json(found))
    elif arguments.csv:
        print(as_csv(found), end="")
        # What is refused has no line there.
        for name, reason in found.items():
            if isinstance(reason, str):
                print(f"trafficd: {name}: {reason}", file=sys.stderr)
    return bool(arguments.json or arguments.csv)


def _code(found: "Found[Kind]") -> int:
    return int(all(isinstance(each, str) for each in found.values()))

"""What the questions of `trafficd plan` have in common, and how their values are written."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from trafficd.schema import NODE_NAME
from trafficd.units import BitRate

LEVELS = ("uplink", "location", "fleet")
THRESHOLDS = (0.5, 0.7, 0.8, 1.0)
EXIT_CROSSED = 3
_MOST_DAYS = 3650
_LEAST, _MOST = 1e-100, 1e100


def of_all() -> argparse.ArgumentParser:
    """Return what every question takes: a history, and the form of the answer."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--history",
        required=True,
        metavar="SOURCE",
        help="sqlite:FILE of a collector, prometheus:URL of an engine, or csv:FILE for series",
    )
    parser.add_argument("--as-of", type=day, metavar="DATE", help="forget what came after that day")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document")
    form.add_argument("--csv", action="store_true", help="print a line for each row")
    access = parser.add_argument_group("access to an engine")
    access.add_argument("--user-file", type=Path, metavar="FILE", help="holds user:password")
    access.add_argument("--bearer-token-file", type=Path, metavar="FILE")
    access.add_argument("--ca-file", type=Path, metavar="FILE")
    access.add_argument(
        "--header",
        action="append",
        type=_header,
        default=[],
        metavar="NAME:VALUE",
        help="like X-Scope-OrgID:vpn; repeatable",
    )
    return parser


def of_series() -> argparse.ArgumentParser:
    """Return what questions about series take."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--series", action="append", default=[], metavar="NAME", help="only this; repeatable"
    )
    parser.add_argument(
        "--level", action="append", choices=LEVELS, help="of what; repeatable, default: all"
    )
    parser.add_argument("--measure", choices=("p95", "mean"), default="p95", help="of each day")
    return parser


def of_places() -> argparse.ArgumentParser:
    """Return what questions about the ranking take."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--threshold",
        type=part,
        action="append",
        metavar="SHARE",
        help="of the capacity, to be told when it is reached; repeatable",
    )
    parser.add_argument(
        "--order-at", type=part, default=0.8, metavar="SHARE", help="the one that is ordered at"
    )
    parser.add_argument(
        "--lead-days", type=days, default=60, metavar="DAYS", help="from an order to its use"
    )
    return parser


def add_fail_above(
    parser: argparse.ArgumentParser, read: Callable[[str], float], form: str, meaning: str
) -> None:
    """Declare --fail-above, for who runs this by cron."""
    parser.add_argument(
        "--fail-above",
        type=read,
        metavar=form,
        help=f"end with {EXIT_CROSSED} if {meaning}",
    )


def crossed(arguments: argparse.Namespace, values: Iterable[float | None]) -> int:
    """Return the exit code for *values* that --fail-above may be crossed by."""
    most = arguments.fail_above
    if most is None:
        return 0
    return EXIT_CROSSED if any(each is not None and each > most for each in values) else 0


class Suppose(argparse.Action):
    """Keeps what is supposed in the order in which it is written."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add a pair of the kind and its value."""
        kind = (option_string or "").lstrip("-").replace("-", "_")
        supposed = [*(namespace.supposed or []), (kind, str(values))]
        namespace.supposed = supposed


# ---- how values are written ----


def day(text: str) -> date:
    """Return a date."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2026-11-24") from error


def days(text: str) -> int:
    """Return a number of days."""
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days, 1 to {_MOST_DAYS}")
    return int(text)


def month_day(text: str) -> int:
    """Return a day of a month."""
    if not text.isdecimal() or not 1 <= int(text) <= 31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day of a month, 1 to 31")
    return int(text)


def positive(text: str) -> float:
    """Return a number above 0, of a size with which others can still be reckoned."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not _LEAST <= value <= _MOST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number above 0, from {_LEAST:g} to {_MOST:g}"
        )
    return value


def part(text: str) -> float:
    """Return a part of a capacity, written 0.8 or 80%."""
    is_percent = text.endswith("%")
    value = positive(text.removesuffix("%").rstrip())
    return value / 100.0 if is_percent else value


def bit_rate(text: str) -> float:
    """Return a rate in bits per second, written 10Gbit."""
    try:
        return float(BitRate.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def commit(text: str) -> tuple[str, float]:
    """Return the name of a place, "" for all, and the rate it is committed to."""
    name, equals, rate = text.rpartition("=")
    if equals and not NODE_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{text!r}: write a rate, or fra=10Gbit")
    return name, bit_rate(rate)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip() and value.strip() and text.isprintable()):
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME:VALUE, like X-Scope-OrgID:vpn")
    return name.strip(), value.strip()

"""Measures trafficd against the numbers it promises: `python bench/run.py [NUMBER ...]`.

Makes network namespaces of its own and takes them away again, so it needs root; the kernel goes on
taking 10,000 links away for some seconds after the end. Prints one table and ends with 1 if a
number is missed.
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from bench.table import Row

ROOT = Path(__file__).resolve().parents[1]
# In the order of the table; each is a file here with a function `measure` that gives rows.
NUMBERS = (
    "sample", "checkpoint", "sandbox", "decision", "churn", "events", "metrics", "memory", "start",
    "ingest", "push", "planning", "page",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for and return the exit code."""
    # Python puts this folder first; the rooms are found from the one above, installed or not.
    sys.path[0] = str(ROOT)
    arguments = _arguments(argv)
    if os.geteuid() != 0:
        print("bench: needs root, for network namespaces of its own", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _leave)
    from bench.table import print_table

    load_before, _, _ = os.getloadavg()
    try:
        rows = _measure(arguments.numbers or NUMBERS, arguments.tools)
    except KeyboardInterrupt:
        print("bench: interrupted; everything it made is gone", file=sys.stderr)
        return 130
    print_table(rows, load_before=load_before)
    return int(any(row.is_missed for row in rows))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure trafficd against its numbers.")
    parser.add_argument(
        "numbers", nargs="*", metavar="NUMBER", help=f"one of {', '.join(NUMBERS)}; all if none"
    )
    parser.add_argument(
        "--tools",
        type=Path,
        default=ROOT.parent / "shared" / "tools",
        metavar="DIR",
        help="where netlink_floor.c, many_links.sh and session_churn.c are (%(default)s)",
    )
    arguments = parser.parse_args(argv)
    if unknown := sorted(set(arguments.numbers) - set(NUMBERS)):
        parser.error(f"{', '.join(unknown)}: no such number; known: {', '.join(NUMBERS)}")
    return arguments


def _measure(numbers: Sequence[str], tools: Path) -> "list[Row]":
    from bench.laboratory import Laboratory, MissingToolError, UnsoundError
    from bench.table import Row

    rows: list[Row] = []
    with Laboratory(tools) as laboratory:
        for number in numbers:
            print(f"measuring: {number}", file=sys.stderr)
            try:
                # A row at a time: what was measured before a fault stays in the table.
                rows.extend(importlib.import_module(f"bench.{number}").measure(laboratory))
            # With a star: what runs in a TaskGroup fails in a group.
            except* UnsoundError as faults:
                rows.append(Row.unsound(number, _first(faults)))
            except* MissingToolError as missing:
                rows.append(Row.skipped(number, _first(missing)))
    return rows


def _first(group: BaseExceptionGroup[Exception]) -> str:
    """Return what the first of the exceptions in *group* says."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def _leave(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

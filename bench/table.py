"""The table: a row for each number, with what it was held against."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_HEADS = ("what", "measured", "asked", "beside it", "verdict")


class Verdict(StrEnum):
    """What becomes of a number."""

    HELD = "held"
    MISSED = "MISSED"
    REPORTED = "-"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Row:
    """One number: *asked* is empty where nothing is asked, *beside* is the floor or a peer."""

    what: str
    measured: str
    asked: str
    beside: str
    verdict: Verdict

    @classmethod
    def held(cls, what: str, measured: str, asked: str, *, is_held: bool, beside: str = "") -> Self:
        """Return the row of a number that is asked for."""
        return cls(what, measured, asked, beside, Verdict.HELD if is_held else Verdict.MISSED)

    @classmethod
    def reported(cls, what: str, measured: str, beside: str = "") -> Self:
        """Return the row of a number that nobody asked for."""
        return cls(what, measured, "", beside, Verdict.REPORTED)

    @classmethod
    def skipped(cls, what: str, reason: str) -> Self:
        """Return the row of a number that could not be measured here."""
        return cls(what, "", "", reason, Verdict.SKIPPED)

    @classmethod
    def unsound(cls, what: str, reason: str) -> Self:
        """Return the row of a number whose measurement went wrong."""
        return cls(what, "", "", reason, Verdict.MISSED)

    @property
    def is_missed(self) -> bool:
        """Whether the number was asked for and not held."""
        return self.verdict is Verdict.MISSED


def print_table(rows: Sequence[Row], *, load_before: float) -> None:
    """Print *rows* in columns, under the machine that they were measured on and its load then."""
    lines = [
        _HEADS,
        *((row.what, row.measured, row.asked, row.beside, row.verdict) for row in rows),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    print(f"Linux {platform.release()}, {platform.machine()}, Python {platform.python_version()}")
    # Work of others on the same cores lengthens every time here but those "of a core".
    print(f"{os.cpu_count()} cores, load {load_before:.1f} before the first measurement")
    print(_line(_HEADS, widths))
    print(_line(["-" * width for width in widths], widths))
    for line in lines[1:]:
        print(_line(line, widths))


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

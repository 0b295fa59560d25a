"""Numbers as people read them: the same on the page, in a terminal and in sentences."""

from collections.abc import Iterable
from datetime import date

NOTHING = "\N{EN DASH}"
_UNITS = (("Tbit/s", 1e12), ("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3))


def rate(bits_per_second: float | None) -> str:
    """Return a rate with three digits and its unit; a dash if it is not known."""
    if bits_per_second is None:
        return NOTHING
    for unit, size in _UNITS:
        # What rounds to a thousand of a unit is one of the next.
        if bits_per_second >= 0.9995 * size:
            return f"{_three_digits(bits_per_second / size)} {unit}"
    return f"{bits_per_second:.0f} bit/s"


def share(part: float | None) -> str:
    """Return a part of one as a percentage; a dash if it is not known."""
    if part is None:
        return NOTHING
    percent = 100.0 * part
    return f"{percent:.0f} %" if abs(percent) >= 9.95 else f"{percent:.1f} %"


def change(part: float) -> str:
    """Return growth by a part of one, with its sign."""
    return f"{100.0 * part:+.0f} %"


def day(when: date | None) -> str:
    """Return a date; a dash if there is none."""
    return NOTHING if when is None else when.isoformat()


def counted(days: int) -> str:
    """Return a number of days."""
    return "1 day" if days == 1 else f"{days} days"


def some(names: Iterable[str], most: int = 12) -> str:
    """Return *names*, or the first of them where they are many."""
    known = list(names)
    return ", ".join(known[:most]) + (", …" if len(known) > most else "") if known else "none"


def _three_digits(number: float) -> str:
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f}"

"""A place's history and forecast as points of a drawing, for a chart that needs no script.

Shape: across, 0 to 1000 is the time that all drawings of a page have in common; down, 0 to 100 is
from a bit above the highest that is drawn to nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from trafficd.planning.document import Day, Detail

WIDTH, HEIGHT = 1000, 100
# Whole weeks: what a week looks like is nothing that a line this small tells.
_WEEK_DAYS = 7
_ROOM = 1.06


@dataclass(frozen=True, slots=True)
class Span:
    """The days that drawings on one page have in common."""

    first: date
    last: date

    def across(self, day: date) -> float:
        """Return where *day* is."""
        return WIDTH * (day - self.first).days / max(1, (self.last - self.first).days)

    def years(self) -> list[tuple[int, float]]:
        """Return the years that begin within the span, with where they do."""
        every = range(self.first.year + 1, self.last.year + 1)
        return [(year, self.across(date(year, 1, 1))) for year in every]


@dataclass(frozen=True, slots=True)
class Mark:
    """A threshold, and how far down it is."""

    threshold: float
    down: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """Points as SVG writes them; *history* in pieces, without the days that are not known.

    *areas* are what lies under those pieces.
    """

    history: list[str]
    areas: list[str]
    point: str
    band_80: str
    band_95: str
    marks: list[Mark]
    now: float
    span: Span


def span_of(details: Iterable[Detail]) -> Span | None:
    """Return the days of all *details*; None if they have none."""
    days = [
        day.date
        for detail in details
        for line in (detail.history, detail.forecast)
        for day in (*line[:1], *line[-1:])
    ]
    return Span(min(days), max(days)) if days else None


def draw(
    detail: Detail, span: Span, *, thresholds: Sequence[float], weeks_a_point: int = 1
) -> Drawing:
    """Return the drawing of *detail*, with its capacity's *thresholds* where it has one."""
    step = weeks_a_point * _WEEK_DAYS
    capacity = detail.summary.capacity_bits_per_second
    rates = [part * capacity for part in thresholds] if capacity else []
    known = [day.p95_bits_per_second or 0.0 for day in detail.history]
    # The outer band may be far above all that matters; it is cut there.
    top = _ROOM * max([*known, *(band.high_80 for band in detail.forecast), *rates, 1.0])

    def at(day: date, value: float) -> str:
        return f"{span.across(day):.0f},{HEIGHT * (1.0 - min(value, top) / top):.1f}"

    bands = detail.forecast[::step]
    pieces: list[list[str]] = [[]]
    for day in _sampled(detail.history, step):
        if day is None or day.p95_bits_per_second is None:
            pieces.append([])
        else:
            pieces[-1].append(at(day.date, day.p95_bits_per_second))
    return Drawing(
        history=[" ".join(piece) for piece in pieces if piece],
        areas=[_area(piece) for piece in pieces if piece],
        point=" ".join(at(band.date, band.point) for band in bands),
        band_80=" ".join(
            [
                *(at(band.date, band.high_80) for band in bands),
                *(at(band.date, band.low_80) for band in reversed(bands)),
            ]
        ),
        band_95=" ".join(
            [
                *(at(band.date, band.high_95) for band in bands),
                *(at(band.date, band.low_95) for band in reversed(bands)),
            ]
        ),
        marks=[
            Mark(part, HEIGHT * (1.0 - rate / top))
            for part, rate in zip(thresholds if rates else [], rates, strict=True)
        ],
        now=span.across(detail.history[-1].date) if detail.history else 0.0,
        span=span,
    )


def _sampled(history: Sequence[Day], step: int) -> list[Day | None]:
    """Return the last known of each *step* days, counted from the last; None if none of them is."""
    first = len(history) % step
    pieces = [
        history[:first],
        *(history[at : at + step] for at in range(first, len(history), step)),
    ]
    return [
        next((day for day in reversed(piece) if day.p95_bits_per_second is not None), None)
        for piece in pieces
        if piece
    ]


def _area(piece: Sequence[str]) -> str:
    """Return the points of *piece* with those on the ground below its ends."""
    begin, end = (each.partition(",")[0] for each in (piece[0], piece[-1]))
    return " ".join([f"{begin},{HEIGHT}", *piece, f"{end},{HEIGHT}"])

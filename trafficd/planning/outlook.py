"""What is expected of a place: growth, when its thresholds are reached, and the one sentence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property

import numpy as np

from trafficd.errors import HistoryTooShortError
from trafficd.planning.daily import Floats
from trafficd.planning.document import Crossing, Growth, Summary
from trafficd.planning.fit import WEEK
from trafficd.planning.forecast import Forecast, Method
from trafficd.planning.places import Place
from trafficd.planning.saturation import Saturation, saturation
from trafficd.planning.wording import change, counted, rate, share
from trafficd.planning.wording import day as day_words

_YEAR_DAYS = 365
_RECENT_DAYS = 30
# A band that holds a tenfold tells no growth.
_MOST_GROWTH = 9.0
_NO_CAPACITY = "no capacity is stated; write the port's into `links[].capacity` of its nodes"


@dataclass(frozen=True)
class Terms:
    """What is asked of every place.

    Units: *thresholds* and *order_at* are parts of the capacity; *lead_days* pass from an order to
    its use.
    """

    thresholds: tuple[float, ...] = (0.5, 0.7, 0.8, 1.0)
    order_at: float = 0.8
    lead_days: int = 60

    @property
    def asked(self) -> list[float]:
        """The thresholds with the one that is ordered at, from low to high."""
        return sorted({*self.thresholds, self.order_at})


@dataclass
class Outlook:
    """A place with the method on its daily p95, or the reason why there is none."""

    place: Place
    method: Method | None
    reason: str

    @classmethod
    def of(cls, place: Place) -> "Outlook":
        """Return the outlook of *place*."""
        if place.lack or not place.capacity:
            return cls(place, None, place.lack or _NO_CAPACITY)
        try:
            return cls(place, Method(place.p95), "")
        except HistoryTooShortError as error:
            return cls(place, None, str(error))

    @cached_property
    def told(self) -> tuple[Forecast | None, str]:
        """The forecast of a year, or of as much as the history carries; or why there is none."""
        if self.method is None:
            return None, self.reason
        carried = self.method.carries_days - self.method.unknown_days
        try:
            return self.method.forecast(min(_YEAR_DAYS, carried)), ""
        except HistoryTooShortError as error:
            return None, str(error)

    def summary(self, terms: Terms, *, drift: float = 0.0) -> Summary:
        """Return what is said of the place in one line.

        Units: *drift* is growth that is supposed on top, a natural logarithm a day.
        """
        place = self.place
        p95 = place.recent_p95
        used = p95 / place.capacity if p95 is not None and place.capacity else None
        crossings = self._crossings(terms, drift)
        ordered_at = next((each for each in crossings if each.threshold == terms.order_at), None)
        growth, growth_reason = self._growth(drift)
        return Summary(
            level=place.level,
            name=place.name,
            location=place.location,
            nodes=len(place.nodes),
            capacity_bits_per_second=place.capacity or None,
            p95_bits_per_second=p95,
            mean_bits_per_second=_mean(place.mean.values[-_RECENT_DAYS:]),
            utilisation=used,
            growth=growth,
            growth_reason=growth_reason,
            crossings=crossings,
            order_by=ordered_at.order_by if ordered_at else None,
            last_release=utc(place.last_release_at),
            sentence=self._sentence(used, ordered_at, place.p95.last),
            notes=list(place.notes),
        )

    def _crossings(self, terms: Terms, drift: float) -> list[Crossing]:
        """Return a crossing for each threshold, empty where there is no capacity to cross."""
        capacity = self.place.capacity
        if not capacity:
            return []
        rates = [part * capacity for part in terms.asked]
        if self.method is None:
            found = [Saturation(each, None, None, self.reason) for each in rates]
        else:
            found = saturation(self.method, rates, drift)
        return [
            Crossing(
                threshold=part,
                threshold_bits_per_second=each.threshold,
                first=each.first,
                last=each.last,
                order_by=self.place.p95.last if each.is_reached else each.order_by(terms.lead_days),
                reason=each.reason or None,
            )
            for part, each in zip(terms.asked, found, strict=True)
        ]

    def _growth(self, drift: float) -> tuple[Growth | None, str | None]:
        """Return what a year adds to the level of now, or as long as the history carries."""
        made, reason = self.told
        if self.method is None or made is None:
            return None, reason
        days = len(made.point)
        if days < WEEK:
            return None, f"it takes a forecast of {WEEK} days, and the history carries {days}"
        last = len(self.method.series.values) - 1
        # As if every day were the same one of the week.
        now = math.exp(float(self.method.fit.level[last]))
        week = slice(-WEEK, None)
        supposed = math.exp(drift * days)
        point, low, high = (
            supposed * float(np.exp(np.log(path[week]).mean())) / now - 1.0
            for path in (made.point, made.low[0.8], made.high[0.8])
        )
        if high > _MOST_GROWTH:
            return None, f"it may be anything up to {change(high)} in {counted(days)}"
        return Growth(days=days, point=point, low_80=low, high_80=high), None

    def _sentence(self, used: float | None, crossing: Crossing | None, as_of: date) -> str:
        if crossing is None:
            return f"{self.reason}."
        port = rate(self.place.capacity)
        is_of = (
            f"how full {port} are is not known" if used is None else f"{share(used)} of {port} now"
        )
        mark = share(crossing.threshold)
        if crossing.first is None or crossing.order_by is None:
            if crossing.order_by is not None:
                return f"{is_of}; {mark} is reached already: order now."
            return f"{is_of}; when {mark} is reached cannot be told: {crossing.reason}."
        window = f"{day_words(crossing.first)} and {day_words(crossing.last)}"
        due = day_words(crossing.order_by)
        late = (
            f"order now, it was due by {due}" if crossing.order_by <= as_of else f"order by {due}"
        )
        return f"{is_of}; {mark} is reached between {window}: {late}."


def ranked(summaries: Sequence[Summary], order_at: float) -> list[Summary]:
    """Return *summaries* with the one to expand next first.

    Those that are as full as one is ordered at come first, the fullest of them before the others,
    then the one whose order is due first; those without a date follow, the fullest first.
    """

    def urgency(each: Summary) -> tuple[bool, date, float]:
        found = next((one for one in each.crossings if one.threshold == order_at), None)
        is_reached = found is not None and found.first is None and found.order_by is not None
        due = date.min if is_reached else each.order_by or date.max
        return each.order_by is None, due, -(each.utilisation or 0.0)

    return sorted(summaries, key=urgency)


def utc(at: int) -> str | None:
    """Return UTC seconds as people read them; None for 0, which is no time."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC") if at else None


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None

"""What is answered of each series or place that somebody asks about, or why nothing is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trafficd.errors import HistoryTooShortError
from trafficd.planning import billing, commit, document
from trafficd.planning.backtest import FEWEST_DAYS, backtest
from trafficd.planning.daily import DailySeries
from trafficd.planning.forecast import Method, forecast
from trafficd.planning.node_history import NodeDays, NodeWindows
from trafficd.planning.percentile import Method as Rank
from trafficd.planning.period import Period
from trafficd.planning.places import Level, Measure, Place
from trafficd.planning.report import (
    Found,
    Kind,
    forecast_bands,
    percentiles_document,
    score_documents,
    threshold_documents,
)
from trafficd.planning.saturation import saturation
from trafficd.planning.wording import counted

_NO_CAPACITY = "no capacity is stated"


@dataclass(frozen=True)
class Asked:
    """One series somebody asks about, and its capacity where it has one."""

    series: DailySeries
    capacity: float | None = None
    # Whether it is in bits per second, and has thresholds that are parts of its capacity.
    is_rate: bool = False
    # Why there is nothing to be said of it, whatever is asked.
    reason: str = ""


def asked_of(places: Iterable[Place], measure: Measure, levels: Sequence[Level]) -> list[Asked]:
    """Return the series of *places* by names that tell levels apart, like location/fra."""
    return [
        Asked(
            replace(each.series(measure), name=full_name(each)),
            each.capacity or None,
            is_rate=True,
            reason=each.lack or ("" if each.capacity or measure is Measure.MEAN else _NO_CAPACITY),
        )
        for each in places
        if each.level in levels
    ]


def full_name(place: Place) -> str:
    """Return the name of *place* with its level."""
    return place.name if place.level is Level.FLEET else f"{place.level}/{place.name}"


def forecasts(asked: Sequence[Asked], horizon: int) -> Found[document.Band]:
    """Return a band for each of the days after each series."""
    return _each(asked, lambda each: forecast_bands(forecast(each.series, horizon)))


def saturations(
    asked: Sequence[Asked], thresholds: Sequence[float], lead_days: int
) -> Found[document.Threshold]:
    """Return when each threshold is reached; they are parts of a capacity, if it has one."""

    def answer(each: Asked) -> list[document.Threshold]:
        if each.is_rate and not each.capacity:
            raise HistoryTooShortError(_NO_CAPACITY)
        unit = each.capacity or 1.0
        found = saturation(Method(each.series), [part * unit for part in thresholds])
        return threshold_documents(found, lead_days)

    return _each(asked, answer)


def backtests(asked: Sequence[Asked]) -> Found[document.Score]:
    """Return how the method did in the past of each series."""

    def answer(each: Asked) -> list[document.Score]:
        method = Method(each.series)
        scores = backtest(method)
        if not scores:
            raise HistoryTooShortError(
                f"{counted(len(method.series.values))} of history; a backtest takes {FEWEST_DAYS}"
            )
        return score_documents(scores)

    return _each(asked, answer)


@dataclass(frozen=True)
class Billing:
    """For which time and on which terms percentiles are asked.

    Units: *commits* in bits per second, by location, "" for every other; *price* is of a Mbit/s;
    *now* is UTC seconds.
    """

    period: Period
    rank: Rank
    commits: Mapping[str, float]
    price: float | None
    now: int


def percentiles(
    places: Sequence[Place],
    nodes: Sequence[NodeDays],
    windows: Mapping[str, NodeWindows],
    terms: Billing,
    levels: Sequence[Level],
) -> list[document.PlacePercentiles]:
    """Return the percentiles of every place of *levels*."""
    own = {
        each.node: billing.node_percentiles(windows.get(each.node), each, terms.period, terms.rank)
        for each in nodes
    }
    return [
        _percentiles(place, [each for each in nodes if _is_of(each, place)], windows, own, terms)
        for place in places
        if place.level in levels
    ]


def _percentiles(
    place: Place,
    members: Sequence[NodeDays],
    windows: Mapping[str, NodeWindows],
    own: Mapping[str, billing.Percentiles],
    terms: Billing,
) -> document.PlacePercentiles:
    ours = [windows[each.node] for each in members if each.node in windows]
    if place.level is Level.UPLINK:
        (member,) = members
        found = own[member.node]
        measured = billing.node_measured(windows.get(member.node), member, terms.period)
    else:
        found = billing.summed_percentiles(
            ours,
            terms.period,
            terms.rank,
            [own[each.node] for each in members if billing.was_there(each, terms.period)],
        )
        measured = billing.summed_measured(ours, terms.period)
    highest = found.highest
    stated = terms.commits.get(place.name, terms.commits.get(""))
    bill = None
    if stated is not None and highest is not None:
        bill = _bill(highest.value, stated, measured, terms)
    return document.PlacePercentiles(
        name=place.name,
        level=place.level,
        percentiles=percentiles_document(terms.period, found),
        bill=bill,
    )


def _bill(p95: float, stated: float, measured: billing.Measured, terms: Billing) -> document.Bill:
    standing = commit.standing(p95, stated)
    cost = (
        None
        if terms.price is None
        else commit.bill(p95, stated, terms.price, terms.period, terms.now)
    )
    above = max(
        (each.above(stated) for each in (measured.receive, measured.transmit)),
        key=lambda each: each.most,
    )
    return document.Bill(
        commit_bits_per_second=stated,
        room_bits_per_second=standing.room,
        share=standing.share,
        slots_above_least=above.least,
        slots_above_most=above.most,
        to_date=cost.to_date if cost else None,
        projected=cost.projected if cost else None,
    )


def _is_of(node: NodeDays, place: Place) -> bool:
    if place.level is Level.UPLINK:
        return node.node == place.name
    return bool(node.days) and (place.level is Level.FLEET or node.location == place.name)


def _each(asked: Sequence[Asked], answer: Callable[[Asked], Sequence[Kind]]) -> Found[Kind]:
    """Return what *answer* says of each, or why it says nothing."""
    found: dict[str, Sequence[Kind] | str] = {}
    for each in asked:
        if each.reason:
            found[each.series.name] = each.reason
            continue
        try:
            found[each.series.name] = answer(each)
        except HistoryTooShortError as error:
            found[each.series.name] = str(error)
    return found

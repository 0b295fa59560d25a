"""A plan: what page and terminal say of a history, computed once and kept until it changes.

Of every place what is expected rests on its days alone, and is kept by them: an hour that is over
changes when its nodes were last heard of, and no forecast.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import numpy.typing as npt

from trafficd.errors import HistoryError
from trafficd.planning import billing, document
from trafficd.planning.backtest import FEWEST_DAYS, backtest
from trafficd.planning.document import Detail, Plan, Ranking, Summary, WhatIf
from trafficd.planning.history import History
from trafficd.planning.node_history import NodeDays, NodeWindows
from trafficd.planning.outlook import Outlook, Terms, ranked, utc
from trafficd.planning.percentile import Method as Rank
from trafficd.planning.period import DAY_SECONDS, Period, day_number
from trafficd.planning.places import RECENT_DAYS, Level, Place, places
from trafficd.planning.report import forecast_bands, percentiles_document, score_documents
from trafficd.planning.utilisation import THRESHOLD_PERCENTS, utilisation
from trafficd.planning.whatif import what_if
from trafficd.planning.wording import counted

NOTHING = "no node has a day that is over in this history; the first is whole after two midnights"


class Planner:
    """The plan of a history, on certain terms."""

    def __init__(self, history: History, terms: Terms, *, forgets: bool = False) -> None:
        """Read nothing yet; who *forgets* has heard of no release after the day asked for."""
        self._history = history
        self._forgets = forgets
        self._terms = terms
        self._nodes: list[NodeDays] = []
        # Those that were read last.
        self.places: list[Place] = []
        # What rests on days alone, with what it was made from.
        self._summaries: dict[tuple[Level, str], tuple[bytes, Summary]] = {}
        self._details: dict[tuple[Level, str], tuple[bytes, Detail]] = {}

    def read(self, until: date) -> list[Place]:
        """Return the places as known at the end of *until*, or of the last day there is.

        Raises: HistoryError if the history cannot be had.
        """
        # Years of a thousand nodes take no room twice.
        self._nodes, self.places = [], []
        self._nodes = self._history.days(until)
        if self._forgets:
            end = (day_number(until) + 1) * DAY_SECONDS
            self._nodes = [
                each if each.last_release_at <= end else replace(each, last_release_at=0)
                for each in self._nodes
            ]
        last = max((each.last for each in self._nodes if each.days), default=None)
        self.places = [] if last is None else places(self._nodes, min(last, until))
        return self.places

    def ranking(self, until: date) -> Ranking:
        """Return the locations with the one to expand next first."""
        found = self.read(until)
        return Ranking(
            as_of=_last(found),
            lead_days=self._terms.lead_days,
            thresholds=self._terms.asked,
            order_at=self._terms.order_at,
            ranking=ranked(
                [self._summary(each) for each in _of(found, Level.LOCATION)], self._terms.order_at
            ),
            reason=None if found else NOTHING,
        )

    def plan(self, until: date) -> Plan:
        """Return the whole: the ranking, the fleet, and every location in detail."""
        ranking = self.ranking(until)
        found = self.places
        windows = self._windows(found)
        prints = {
            each.node: _printed(each, windows.get(each.node)) for each in self._nodes if each.days
        }
        return Plan(
            as_of=ranking.as_of,
            history_begins=found[0].p95.first if found else None,
            lead_days=ranking.lead_days,
            thresholds=ranking.thresholds,
            order_at=ranking.order_at,
            ranking=ranking.ranking,
            fleet=self._detail(found[0], windows, prints) if found else None,
            locations={
                each.name: self._detail(each, windows, prints)
                for each in _of(found, Level.LOCATION)
            },
            reason=ranking.reason,
        )

    def what_if(self, supposed: Sequence[tuple[str, str]]) -> WhatIf:
        """Return the ranking before and after, of the places that were read last.

        Raises: HistoryError with a sentence if what is *supposed* makes no sense.
        """
        if not self.places:
            raise HistoryError(NOTHING)
        return what_if(self.places, self._terms, supposed)

    def _windows(self, found: Sequence[Place]) -> dict[str, NodeWindows]:
        """Return every node's windows of the last days, and of one before: what was held comes."""
        if not found:
            return {}
        period = _recent(found[0])
        windows = self._history.windows(period.begin - DAY_SECONDS, period.end)
        return {each.node: each for each in windows}

    def _summary(self, place: Place) -> Summary:
        key = _fingerprint(place)
        known = self._summaries.get((place.level, place.name))
        if known is None or known[0] != key:
            known = key, Outlook.of(place).summary(self._terms)
            self._summaries[place.level, place.name] = known
        return msgspec.structs.replace(known[1], last_release=utc(place.last_release_at))

    def _detail(
        self, place: Place, windows: Mapping[str, NodeWindows], prints: Mapping[str, bytes]
    ) -> Detail:
        members = [each for each in self._nodes if _is_of(each, place)]
        summary = self._summary(place)
        uplinks = [
            self._summary(each)
            for each in _of(self.places, Level.UPLINK)
            if place.level is Level.LOCATION and each.location == place.name
        ]
        key = _fingerprint(place) + b"".join(prints[each.node] for each in members)
        known = self._details.get((place.level, place.name))
        if known is None or known[0] != key:
            known = key, _detail(place, summary, members, windows)
            self._details[place.level, place.name] = known
        return msgspec.structs.replace(known[1], summary=summary, uplinks=uplinks)


def _detail(
    place: Place,
    summary: Summary,
    members: Sequence[NodeDays],
    windows: Mapping[str, NodeWindows],
) -> Detail:
    outlook = Outlook.of(place)
    period = _recent(place)
    own = [
        billing.node_percentiles(windows.get(each.node), each, period, Rank.CEIL)
        for each in members
        if billing.was_there(each, period)
    ]
    ours = [windows[each.node] for each in members if each.node in windows]
    found = billing.summed_percentiles(ours, period, Rank.CEIL, own)
    made, reason = outlook.told
    scores, scores_reason = _scores(outlook)
    return Detail(
        summary=summary,
        history=_history(place),
        forecast=forecast_bands(made) if made else [],
        forecast_reason=reason or None,
        scores=scores,
        scores_reason=scores_reason,
        percentiles=percentiles_document(period, found),
        usage=_usage(members, ours, period),
        uplinks=[],
    )


def _history(place: Place) -> list[document.Day]:
    return [
        document.Day(
            date=place.p95.day(number),
            p95_bits_per_second=_known(p95),
            mean_bits_per_second=_known(mean),
        )
        for number, (p95, mean) in enumerate(
            zip(place.p95.values.tolist(), place.mean.values.tolist(), strict=True)
        )
    ]


def _scores(outlook: Outlook) -> tuple[list[document.Score], str | None]:
    if outlook.method is None:
        return [], outlook.reason
    scores = backtest(outlook.method)
    if scores:
        return score_documents(scores), None
    days = counted(len(outlook.method.series.values))
    return [], f"{days} of history; a backtest takes {FEWEST_DAYS}"


def _usage(
    members: Sequence[NodeDays], windows: Sequence[NodeWindows], period: Period
) -> document.Usage:
    found = utilisation(windows, members, period)
    above = {
        f"{percent / 100:g}": max(ratios)
        for percent in THRESHOLD_PERCENTS
        if None not in (ratios := _both(found.full.above[percent]))
    }
    peaks = [each for each in _both(found.peak_to_mean) if each is not None]
    return document.Usage(
        slots_above=above or None,
        busy_hour_utc=found.busy_hour.hour,
        peak_to_mean=max(peaks, default=None),
        uplink_bytes_per_tunnel_byte=None
        if found.overhead.both is None
        else 1.0 + found.overhead.both,
        classes=dict(found.classes),
    )


def _both(ratios: object) -> list[float]:
    return [ratios.receive, ratios.transmit]  # type: ignore[attr-defined]


def _fingerprint(place: Place) -> bytes:
    """Return what changes whenever a summary of *place* does, but for the last release."""
    told = (place.location, place.p95.first, place.nodes, place.capacity, place.recent_p95)
    return _digest((place.p95.values, place.mean.values), (*told, place.notes))


def _printed(node: NodeDays, windows: NodeWindows | None) -> bytes:
    """Return what changes whenever anything does that is told of *node* in the last days."""
    pairs = [node.uplink, node.tunnel, *node.classes.values()]
    arrays = [each[-RECENT_DAYS:] for pair in pairs for each in (pair.receive, pair.transmit)]
    arrays += [node.capacity[-RECENT_DAYS:], node.releases[-RECENT_DAYS:]]
    told: tuple[object, ...] = (node.node, node.last, list(node.classes), node.slots.first)
    slots = [each[-RECENT_DAYS:] for each in (node.slots.receive, node.slots.transmit)]
    if windows is not None:
        arrays += [windows.uplink.receive, windows.uplink.transmit]
        told = (*told, windows.window_seconds, windows.first_at)
    return _digest((*arrays, *slots), told)


def _digest(arrays: Iterable[npt.NDArray[Any]], told: object) -> bytes:
    digest = hashlib.blake2b(repr(told).encode(), digest_size=16)
    for each in arrays:
        digest.update(each.tobytes())
    return digest.digest()


def _recent(place: Place) -> Period:
    """Return the last days of *place*, as many as there are."""
    end = datetime.combine(place.p95.last + timedelta(days=1), datetime.min.time(), UTC)
    days = min(RECENT_DAYS, len(place.p95.values))
    at = int(end.timestamp())
    return Period(at - days * DAY_SECONDS, at)


def _of(found: Sequence[Place], level: Level) -> list[Place]:
    return [each for each in found if each.level is level]


def _is_of(node: NodeDays, place: Place) -> bool:
    return bool(node.days) and (place.level is Level.FLEET or node.location == place.name)


def _last(found: Sequence[Place]) -> date | None:
    return found[0].p95.last if found else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

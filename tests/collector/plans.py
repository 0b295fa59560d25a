"""Made-up plans: a fleet that looks like one, and the smallest documents that may be."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from trafficd.errors import HistoryError
from trafficd.planning.document import (
    Band,
    Crossing,
    Day,
    Detail,
    Growth,
    Percentiles,
    Plan,
    Score,
    Summary,
    Usage,
    WhatIf,
)
from trafficd.planning.wording import day, rate, share

AS_OF = date(2026, 10, 31)
LEAD_DAYS, ORDER_AT = 60, 0.8
THRESHOLDS = [0.5, 0.7, 0.8, 1.0]
HISTORY_DAYS, FORECAST_DAYS = 730, 365
NOT_REACHED = "it is not reached in 365 days, the most that 730 days of history carry"
CITIES = (
    "ams", "arn", "ath", "bcn", "beg", "bru", "bud", "cdg", "cph", "dub", "dus", "fra", "hel",
    "icn", "jfk", "lax", "lhr", "lis", "mad", "man", "mia", "mrs", "muc", "mxp", "nrt", "ord",
    "osl", "otp", "prg", "rix", "sea", "sin", "sjc", "sof", "syd", "tll", "vie", "vno", "waw",
    "zrh",
)  # fmt: skip
_WEEK = (1.0, 1.0, 1.01, 1.02, 1.05, 0.97, 0.93)


@dataclass
class FixedPlanner:
    """Answers with what it is given, and remembers what was supposed."""

    current: Plan | None
    answer: WhatIf | HistoryError | None = None
    asked: list[list[tuple[str, str]]] = field(default_factory=list)

    async def plan(self) -> Plan | None:
        return self.current

    async def what_if(self, supposed: Sequence[tuple[str, str]]) -> WhatIf:
        self.asked.append(list(supposed))
        if isinstance(self.answer, HistoryError):
            raise self.answer
        if self.answer is not None:
            return self.answer
        before = self.current.ranking if self.current else []
        said = [f"{kind} {value}" for kind, value in supposed]
        return WhatIf(supposed=said, before=before, after=before[::-1])


def unknown(name: str = "fra", **told: object) -> Summary:
    """Return the summary of a location of which nothing is known but what is *told*."""
    values: dict[str, object] = {
        "level": "location",
        "name": name,
        "location": name,
        "nodes": 1,
        "capacity_bits_per_second": None,
        "p95_bits_per_second": None,
        "mean_bits_per_second": None,
        "utilisation": None,
        "growth": None,
        "growth_reason": "no capacity is stated",
        "crossings": [],
        "order_by": None,
        "last_release": None,
        "sentence": "no capacity is stated.",
        "notes": [],
    }
    return Summary(**{**values, **told})  # type: ignore[arg-type]


def bare(summary: Summary, **told: object) -> Detail:
    """Return a detail with nothing in it but *summary* and what is *told*."""
    values: dict[str, object] = {
        "summary": summary,
        "history": [],
        "forecast": [],
        "forecast_reason": "27 days of history, and it takes 28",
        "scores": [],
        "scores_reason": "too few days to try the method on",
        "percentiles": None,
        "usage": None,
        "uplinks": [],
    }
    return Detail(**{**values, **told})  # type: ignore[arg-type]


def plan_of(details: Sequence[Detail], fleet: Detail | None = None, **told: object) -> Plan:
    """Return a plan that ranks *details* in their order."""
    values: dict[str, object] = {
        "as_of": AS_OF,
        "history_begins": AS_OF - timedelta(days=HISTORY_DAYS - 1),
        "lead_days": LEAD_DAYS,
        "thresholds": THRESHOLDS,
        "order_at": ORDER_AT,
        "ranking": [each.summary for each in details],
        "fleet": fleet,
        "locations": {each.summary.name: each for each in details},
        "reason": None,
    }
    return Plan(**{**values, **told})  # type: ignore[arg-type]


def fleet_plan(*, locations: int = 40, nodes: int = 500, seed: int = 7) -> Plan:
    """Return the plan of a fleet with two years of days."""
    chance = random.Random(seed)
    details = []
    for number, name in enumerate(CITIES[:locations]):
        members = nodes // locations + (number < nodes % locations)
        details.append(_location(name, members, chance))
    details.sort(key=lambda each: _urgency(each.summary))
    return plan_of(details, _fleet(details, chance))


def _urgency(summary: Summary) -> tuple[bool, date, float]:
    due = summary.order_by
    return due is None, due or date.max, -(summary.utilisation or 0.0)


def _location(name: str, members: int, chance: random.Random) -> Detail:
    uplinks_used = chance.betavariate(4, 3)
    yearly = max(0.0, chance.gauss(0.17, 0.13))
    capacity = members * 10e9
    uplinks = [
        _summary(
            "uplink",
            f"{name}-{number + 1}",
            name,
            nodes=1,
            capacity=10e9,
            used=min(0.97, max(0.05, uplinks_used + chance.gauss(0.0, 0.05))),
            yearly=yearly,
        )
        for number in range(members)
    ]
    p95 = sum(each.p95_bits_per_second or 0.0 for each in uplinks)
    summary = _summary(
        "location", name, name, nodes=members, capacity=capacity, used=p95 / capacity, yearly=yearly
    )
    return _detail(summary, yearly, uplinks, chance)


def _fleet(details: Sequence[Detail], chance: random.Random) -> Detail:
    capacity = sum(each.summary.capacity_bits_per_second or 0.0 for each in details)
    p95 = sum(each.summary.p95_bits_per_second or 0.0 for each in details)
    summary = _summary(
        "fleet",
        "fleet",
        "",
        nodes=sum(each.summary.nodes for each in details),
        capacity=capacity,
        used=p95 / capacity,
        yearly=0.16,
    )
    uplinks = [uplink for each in details for uplink in each.uplinks]
    return _detail(summary, 0.16, uplinks, chance)


def _summary(
    level: str, name: str, location: str, *, nodes: int, capacity: float, used: float, yearly: float
) -> Summary:
    crossings = [_crossing(part, capacity, used, yearly) for part in THRESHOLDS]
    (ordered,) = (each for each in crossings if each.threshold == ORDER_AT)
    is_of = f"{share(used)} of {rate(capacity)} now"
    if ordered.first is not None and ordered.order_by is not None:
        sentence = (
            f"{is_of}; {share(ORDER_AT)} is reached between {day(ordered.first)} and"
            f" {day(ordered.last)}: "
        )
        due = day(ordered.order_by)
        late = ordered.order_by <= AS_OF
        sentence += f"order now, it was due by {due}." if late else f"order by {due}."
    elif ordered.order_by is not None:
        sentence = f"{is_of}; {share(ORDER_AT)} is reached already: order now."
    else:
        mark = share(ORDER_AT)
        sentence = f"{is_of}; when {mark} is reached cannot be told: {ordered.reason}."
    return Summary(
        level=level,
        name=name,
        location=location,
        nodes=nodes,
        capacity_bits_per_second=capacity,
        p95_bits_per_second=used * capacity,
        mean_bits_per_second=0.71 * used * capacity,
        utilisation=used,
        growth=Growth(days=365, point=yearly, low_80=yearly - 0.07, high_80=yearly + 0.09),
        growth_reason=None,
        crossings=crossings,
        order_by=ordered.order_by,
        last_release="2026-10-31 23:00 UTC",
        sentence=sentence,
        notes=[],
    )


def _crossing(part: float, capacity: float, used: float, yearly: float) -> Crossing:
    def crossing(first: date | None, last: date | None, due: date | None, why: str) -> Crossing:
        return Crossing(
            threshold=part,
            threshold_bits_per_second=part * capacity,
            first=first,
            last=last,
            order_by=due,
            reason=why or None,
        )

    if used >= part:
        return crossing(None, None, AS_OF, "it is reached already, in the last seven days")
    needed = math.log(part / used)
    early, late = (365 * needed / max(1e-6, yearly + off) for off in (0.07, -0.05))
    if not 0.0 < late <= FORECAST_DAYS:
        return crossing(None, None, None, NOT_REACHED)
    first, last = (AS_OF + timedelta(days=1 + round(each)) for each in (early, late))
    return crossing(first, last, first - timedelta(days=LEAD_DAYS), "")


def _detail(
    summary: Summary, yearly: float, uplinks: list[Summary], chance: random.Random
) -> Detail:
    now = summary.p95_bits_per_second or 0.0
    return Detail(
        summary=summary,
        history=list(_history(now, yearly, chance)),
        forecast=list(_forecast(now, yearly)),
        forecast_reason=None,
        scores=[_score(*each) for each in ((7, 4.1, 0.19), (30, 6.2, 0.27), (90, 9.4, 0.41))],
        scores_reason=None,
        percentiles=Percentiles(
            begin="2026-10-01 00:00 UTC",
            end="2026-11-01 00:00 UTC",
            receive_bits_per_second=0.31 * now,
            transmit_bits_per_second=0.98 * now,
            highest_bits_per_second=0.98 * now,
            both_bits_per_second=1.28 * now,
            error_bits_per_second=0.02 * now,
            upper_bound_bits_per_second=now,
            slots_seen=741,
            slots_expected=744,
            resolution="1 h",
            notes=["of hourly totals, which reads 0.7 to 1.5 % low on real traffic"],
        ),
        usage=Usage(
            slots_above={"0.5": 0.62, "0.7": 0.21, "0.8": 0.043, "0.9": 0.0},
            busy_hour_utc=20,
            peak_to_mean=1.74,
            uplink_bytes_per_tunnel_byte=2.061,
            classes={"wireguard": 0.713, "openvpn": 0.202, "l2tp": 0.085},
        ),
        uplinks=uplinks,
    )


def _history(now: float, yearly: float, chance: random.Random) -> Iterator[Day]:
    off = 0.0
    for back in range(HISTORY_DAYS - 1, -1, -1):
        when = AS_OF - timedelta(days=back)
        # Gone by as slowly as habits change, and back to the line at the end.
        off = 0.97 * off + chance.gauss(0.0, 0.008)
        line = math.exp(-yearly * back / 365 + off * min(1.0, back / 60))
        p95 = now * line * _WEEK[when.weekday()] * (1 + chance.gauss(0.0, 0.012))
        is_known = chance.random() > 0.004
        yield Day(
            date=when,
            p95_bits_per_second=p95 if is_known else None,
            mean_bits_per_second=0.71 * p95 if is_known else None,
        )


def _forecast(now: float, yearly: float) -> Iterator[Band]:
    for ahead in range(1, FORECAST_DAYS + 1):
        when = AS_OF + timedelta(days=ahead)
        point = now * math.exp(0.75 * yearly * ahead / 365) * _WEEK[when.weekday()]
        off = 0.03 + 0.009 * math.sqrt(ahead)
        yield Band(
            date=when,
            point=point,
            low_80=point * math.exp(-off),
            high_80=point * math.exp(off),
            low_95=point * math.exp(-1.7 * off),
            high_95=point * math.exp(1.7 * off),
        )


def _score(days: int, smape: float, width: float) -> Score:
    return Score(
        horizon_days=days,
        forecasts=196,
        smape_percent=smape,
        covered_80=0.81,
        covered_95=0.946,
        width_80=width,
    )

"""What was found out, as documents for machines: stable names, dates as 2026-11-24.

An answer that cannot be given is in `refused`, with the reason in place of it.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from trafficd.planning import billing, document
from trafficd.planning.backtest import Score
from trafficd.planning.document import Band, Document, Threshold
from trafficd.planning.forecast import Forecast
from trafficd.planning.percentile import Estimate
from trafficd.planning.period import Period
from trafficd.planning.saturation import Saturation

# What is known of each series: documents, or why there are none.
Kind = TypeVar("Kind", bound=Document)
Found = Mapping[str, Sequence[Kind] | str]
Row = dict[str, Any]


def forecast_bands(made: Forecast) -> list[Band]:
    """Return a band a day."""
    rows = zip(
        made.days(),
        made.point.tolist(),
        made.low[0.8].tolist(),
        made.high[0.8].tolist(),
        made.low[0.95].tolist(),
        made.high[0.95].tolist(),
        strict=True,
    )
    return [
        Band(date=day, point=point, low_80=low, high_80=high, low_95=lower, high_95=higher)
        for day, point, low, high, lower, higher in rows
    ]


def threshold_documents(found: Sequence[Saturation], lead_days: int) -> list[Threshold]:
    """Return one a threshold."""
    return [
        Threshold(
            threshold=each.threshold,
            first=each.first,
            last=each.last,
            order_by=each.order_by(lead_days),
            reason=each.reason or None,
        )
        for each in found
    ]


def score_documents(scores: Sequence[Score]) -> list[document.Score]:
    """Return one a horizon."""
    return [
        document.Score(
            horizon_days=each.horizon,
            forecasts=each.origins,
            smape_percent=each.smape,
            covered_80=each.covered[0.8],
            covered_95=each.covered[0.95],
            width_80=each.width,
        )
        for each in scores
    ]


def percentiles_document(period: Period, found: billing.Percentiles) -> document.Percentiles:
    """Return the percentiles of *period*."""
    errors = [each.error for each in (found.receive, found.transmit) if each is not None]
    return document.Percentiles(
        begin=_utc(period.begin),
        end=_utc(period.end),
        receive_bits_per_second=_value(found.receive),
        transmit_bits_per_second=_value(found.transmit),
        highest_bits_per_second=_value(found.highest),
        both_bits_per_second=_value(found.both),
        error_bits_per_second=max((each for each in errors if each is not None), default=None)
        if None not in errors
        else None,
        upper_bound_bits_per_second=found.upper.highest if found.upper else None,
        slots_seen=found.slots_seen,
        slots_expected=found.slots_expected,
        resolution=_resolution(found),
        notes=list(found.notes),
    )


def as_json(found: Found[Kind]) -> str:
    """Return one object: `series` with the documents of each, `refused` with the reasons."""
    rows = {name: each for name, each in found.items() if not isinstance(each, str)}
    reasons = {name: each for name, each in found.items() if isinstance(each, str)}
    return indented({"series": rows, "refused": reasons})


def indented(value: object) -> str:
    """Return *value* as JSON for people and machines."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def as_csv(found: Found[Kind]) -> str:
    """Return a line a document, with the series before it; what is refused has none."""
    lines = [
        {"series": name, **flat(each)}
        for name, rows in found.items()
        if not isinstance(rows, str)
        for each in rows
    ]
    return csv_lines(lines)


def csv_lines(lines: Sequence[Row]) -> str:
    """Return *lines* under the names of their values; nothing where there are none."""
    if not lines:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def flat(each: Document) -> Row:
    """Return the values of a document without those that are documents or lists themselves."""
    values = msgspec.to_builtins(each)
    return {name: values[name] for name in _single(type(each))}


def flat_percentiles(each: document.PlacePercentiles) -> Row:
    """Return the percentiles of a place and its bill, the latter empty where it has none."""
    bill = dict.fromkeys(_single(document.Bill)) if each.bill is None else flat(each.bill)
    return {**flat(each), **flat(each.percentiles), **bill}


def _single(kind: type[Document]) -> list[str]:
    """Return the names of the values that are one, whatever they are: null as well."""
    return [each.name for each in msgspec.structs.fields(kind) if not _is_many(each.type)]


def _is_many(kind: Any) -> bool:
    if get_origin(kind) is UnionType:
        return any(_is_many(each) for each in get_args(kind))
    return get_origin(kind) in (list, dict) or issubclass(kind, Document)


def _resolution(found: billing.Percentiles) -> str:
    if found.resolution is billing.Resolution.WINDOWS:
        return f"{found.resolution} of {found.window_seconds // 60} minutes"
    return str(found.resolution)


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _utc(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

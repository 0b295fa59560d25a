"""What was found out, as documents for machines: stable names, dates as 2026-11-24.

An answer that cannot be given is in `refused`, with the reason in place of it.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trafficd.planning.backtest import Score
from trafficd.planning.forecast import Forecast
from trafficd.planning.saturation import Saturation

Row = dict[str, Any]
# What is known of each series: rows, or why there are none.
Found = Mapping[str, Sequence[Row] | str]


def forecast_rows(made: Forecast) -> list[Row]:
    """Return a row a day."""
    return [
        {
            "date": day.isoformat(),
            "point": float(made.point[number]),
            "low_80": float(made.low[0.8][number]),
            "high_80": float(made.high[0.8][number]),
            "low_95": float(made.low[0.95][number]),
            "high_95": float(made.high[0.95][number]),
        }
        for number, day in enumerate(made.days())
    ]


def saturation_rows(found: Sequence[Saturation], lead_days: int) -> list[Row]:
    """Return a row a threshold."""
    return [
        {
            "threshold": each.threshold,
            "first": each.first and each.first.isoformat(),
            "last": each.last and each.last.isoformat(),
            "order_by": (by := each.order_by(lead_days)) and by.isoformat(),
            "reason": each.reason or None,
        }
        for each in found
    ]


def backtest_rows(scores: Sequence[Score]) -> list[Row]:
    """Return a row a horizon."""
    return [
        {
            "horizon_days": each.horizon,
            "forecasts": each.origins,
            "smape_percent": each.smape,
            "covered_80": each.covered[0.8],
            "covered_95": each.covered[0.95],
            "width_80": each.width,
        }
        for each in scores
    ]


def as_json(found: Found) -> str:
    """Return one object: `series` with the rows of each, `refused` with the reasons."""
    rows = {name: each for name, each in found.items() if not isinstance(each, str)}
    reasons = {name: each for name, each in found.items() if isinstance(each, str)}
    return json.dumps({"series": rows, "refused": reasons}, indent=2)


def as_csv(found: Found) -> str:
    """Return a line a row, with the series before it; what is refused has none."""
    lines = list(_with_series(found))
    if not lines:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _with_series(found: Found) -> Iterator[Row]:
    for name, rows in found.items():
        if not isinstance(rows, str):
            for row in rows:
                yield {"series": name, **row}

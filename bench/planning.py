"""The planner against traffic that came: how far it was off, what its bands and windows held.

The series are those of the Tor network, one of them the sum; no setting of the method is fitted to
a column. A thousand uplinks with two years of days are planned in a process of their own.
"""

import json
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from bench.laboratory import Laboratory, run
from bench.table import Row
from trafficd.planning.backtest import HORIZONS, Score, backtest
from trafficd.planning.csv_history import read_csv
from trafficd.planning.daily import DailySeries
from trafficd.planning.forecast import Method
from trafficd.planning.saturation import saturation

# Beside the tools, as published by Tor Metrics.
_SERIES = "../data/tor_daily_gbps_2010_2016.csv"
_COLUMNS = 5
_FIRST_DAYS, _STEP_DAYS = 1095, 45
_MOST_SMAPE = {7: 5.6, 30: 8.7, 90: 12.2}
_COVERED = {0.8: (0.75, 0.85), 0.95: (0.90, 0.97)}
_MOST_WIDTH = 0.50
_ABOVE = (1.10, 1.25)
_HELD, _MOST_BEFORE = (0.75, 0.90), 0.12
_NODES, _LOCATIONS, _DAYS = 1000, 40, 730
_MOST_SECONDS, _MOST_BYTES = 10.0, 150_000_000


def measure(laboratory: Laboratory) -> Iterator[Row]:
    """Yield the rows of forecasts, of saturation windows, and of a thousand uplinks."""
    yield from _forecasts(read_csv(laboratory.tool(_SERIES))[:_COLUMNS])
    yield from _windows(read_csv(laboratory.tool(_SERIES))[:_COLUMNS])
    # As the collector has it.
    alone = ("env", "OPENBLAS_NUM_THREADS=1")
    said = json.loads(run(*alone, sys.executable, "-m", "bench.planning"))
    yield Row.held(
        f"forecast and ranking of {_NODES:,} uplinks with two years, CPU",
        f"{said['seconds']:.1f} s",
        f"<= {_MOST_SECONDS:.0f} s",
        is_held=said["seconds"] <= _MOST_SECONDS,
        beside=f"again, nothing changed: {said['again']:.2f} s",
    )
    yield Row.held(
        "memory of it",
        f"{said['bytes'] / 1e6:.0f} MB",
        f"<= {_MOST_BYTES / 1e6:.0f} MB",
        is_held=said["bytes"] <= _MOST_BYTES,
    )


def _forecasts(series: Sequence[DailySeries]) -> Iterator[Row]:
    scores: defaultdict[int, list[Score]] = defaultdict(list)
    for each in series:
        found = backtest(Method(each), first_days=_FIRST_DAYS, step_days=_STEP_DAYS)
        for score in found:
            scores[score.horizon].append(score)
    for horizon in HORIZONS:
        smape = float(np.mean([each.smape for each in scores[horizon]]))
        yield Row.held(
            f"forecast of {horizon} days, SMAPE, mean of {len(series)} series",
            f"{smape:.2f} %",
            f"<= {_MOST_SMAPE[horizon]} %",
            is_held=smape <= _MOST_SMAPE[horizon],
        )
    for share, (least, most) in _COVERED.items():
        covered = [
            float(np.mean([each.covered[share] for each in scores[horizon]]))
            for horizon in HORIZONS
        ]
        yield Row.held(
            f"held by the band of {share:.0%}, at 7 / 30 / 90 days",
            " / ".join(f"{each:.1%}" for each in covered),
            f"{least:.0%} to {most:.0%}",
            is_held=all(least <= each <= most for each in covered),
        )
    widths = [each.width for each in scores[max(HORIZONS)]]
    yield Row.held(
        "width of the band of 80 % at 90 days, of the point, median of the series",
        f"{np.median(widths):.2f}",
        f"<= {_MOST_WIDTH}",
        is_held=float(np.median(widths)) <= _MOST_WIDTH,
        beside=f"mean {np.mean(widths):.2f}; {min(widths):.2f} to {max(widths):.2f}",
    )


def _windows(series: Sequence[DailySeries]) -> Iterator[Row]:
    for above in _ABOVE:
        told = held = before = 0
        for each in series:
            for first, last, reached in _told(each, above):
                # A window that is not over yet has held nothing and missed nothing.
                if reached is None and last > each.last:
                    continue
                told += 1
                held += reached is not None and first <= reached <= last
                before += reached is not None and reached < first
        share, early = held / told, before / told
        yield Row.held(
            f"window of the day that is {above - 1:.0%} above the present: holds it",
            f"{share:.1%} of {told}",
            f"{_HELD[0]:.0%} to {_HELD[1]:.0%}",
            is_held=_HELD[0] <= share <= _HELD[1],
        )
        yield Row.held(
            f"the same: the day comes before the early edge, {above - 1:.0%} above",
            f"{early:.1%}",
            f"<= {_MOST_BEFORE:.0%}",
            is_held=early <= _MOST_BEFORE,
        )


def _told(each: DailySeries, above: float) -> Iterator[tuple[date, date, date | None]]:
    """Yield the windows that were told, and when the threshold was reached."""
    values = each.values
    for day in range(_FIRST_DAYS - 1, len(values) - 1, _STEP_DAYS):
        threshold = above * float(np.nanmax(values[day - 6 : day + 1]))
        past = replace(each, values=values[: day + 1])
        (found,) = saturation(Method(past), [threshold])
        if found.first is None or found.last is None:
            continue
        reached = np.flatnonzero(values[day + 1 :] >= threshold)
        came = past.day(day + 1 + int(reached[0])) if len(reached) else None
        yield found.first, found.last, came


def _plan() -> None:
    """Print what planning a thousand uplinks takes, as a process of its own."""
    from tests.planning.fleets import FIRST, Held, node
    from tests.planning.series import growing
    from trafficd.planning.outlook import Outlook, Terms
    from trafficd.planning.places import Level
    from trafficd.planning.planner import Planner
    from trafficd.planning.report import forecast_bands

    nodes = [
        node(f"n{number}", 3e7 * growing(_DAYS, seed=number), location=f"l{number % _LOCATIONS}")
        for number in range(_NODES)
    ]
    last = FIRST + timedelta(days=_DAYS - 1)
    planner = Planner(Held(*nodes), Terms())
    begun = time.process_time()
    found = planner.ranking(last)
    for place in planner.places:
        if place.level is not Level.UPLINK:
            continue
        outlook = Outlook.of(place)
        outlook.summary(Terms())
        # A year, as far as two years carry it.
        made, _ = outlook.told
        if made is not None:
            forecast_bands(made)
    seconds = time.process_time() - begun
    begun = time.process_time()
    planner.ranking(last)
    again = time.process_time() - begun
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(
        json.dumps(
            {
                "seconds": seconds,
                "again": again,
                "bytes": most,
                "locations": len(found.ranking),
            }
        )
    )


if __name__ == "__main__":
    _plan()

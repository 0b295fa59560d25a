"""What is answered of series and places, and the reasons where nothing is."""

from datetime import timedelta

import numpy as np
import pytest

from tests.planning.fleets import FIRST, GIGABIT, PEAK, Held, at, node
from tests.planning.series import growing, series
from trafficd.planning.answers import (
    Asked,
    Billing,
    asked_of,
    backtests,
    forecasts,
    full_name,
    percentiles,
    saturations,
)
from trafficd.planning.document import PlacePercentiles
from trafficd.planning.node_history import NodeDays
from trafficd.planning.percentile import Method as Rank
from trafficd.planning.period import Period
from trafficd.planning.places import Level, Measure, places

DAYS = 120
LAST = FIRST + timedelta(days=DAYS - 1)
LEVELS = list(Level)


def fleet() -> list[NodeDays]:
    grown = 1e9 * growing(DAYS) / 100
    return [
        node("fra-1", grown),
        node("fra-2", grown, transmit=2.0),
        node("ams-1", grown, capacity=0.0),
        node("nyc-1", grown[:60]),
    ]


def percentiles_of(
    nodes: list[NodeDays],
    period: Period,
    *,
    commits: dict[str, float] | None = None,
    price: float | None = None,
) -> dict[str, PlacePercentiles]:
    windows = {each.node: each for each in Held(*nodes).windows(period.begin, period.end)}
    terms = Billing(period, Rank.CEIL, commits or {}, price, period.end)
    found = percentiles(places(nodes, LAST), nodes, windows, terms, LEVELS)
    return {f"{each.level}/{each.name}": each for each in found}


def test_places_are_asked_by_names_that_tell_levels_apart() -> None:
    found = places(fleet(), LAST)

    asked = asked_of(found, Measure.P95, [Level.UPLINK, Level.FLEET])

    assert [full_name(each) for each in found[:2]] == ["fleet", "location/ams"]
    assert [each.series.name for each in asked] == [
        *("fleet", "uplink/ams-1", "uplink/fra-1", "uplink/fra-2", "uplink/nyc-1"),
    ]
    assert [each.reason for each in asked] == [
        "",
        "no capacity is stated",
        "",
        "",
        f"nothing has been heard from here since {FIRST + timedelta(days=59)}",
    ]
    assert asked[1].capacity is None


def test_a_mean_without_a_capacity_is_forecast_and_reaches_no_part_of_one() -> None:
    asked = asked_of(places(fleet(), LAST), Measure.MEAN, [Level.UPLINK])

    expected, reached = forecasts(asked, 30), saturations(asked, [0.5], 30)

    assert len(expected["uplink/ams-1"]) == 30
    assert reached["uplink/ams-1"] == "no capacity is stated"
    assert isinstance(expected["uplink/nyc-1"], str)
    told = reached["uplink/fra-1"][0]
    assert not isinstance(told, str)
    assert told.threshold == 5 * GIGABIT


def test_a_series_from_elsewhere_reaches_what_is_said_in_its_unit() -> None:
    told = saturations([Asked(series(growing(200)))], [1.0], 30)["fra"][0]

    assert not isinstance(told, str)
    assert (told.threshold, told.reason) == (1.0, "it is reached already, in the last seven days")


@pytest.mark.parametrize(
    ("days", "reason"),
    [(400, "400 days of history; a backtest takes 455"), (9, "9 days with traffic; a forecast")],
)
def test_a_short_history_has_no_backtest(days: int, reason: str) -> None:
    found = backtests([Asked(series(growing(days)))])["fra"]

    assert isinstance(found, str)
    assert found.startswith(reason)


def test_a_backtest_has_a_score_a_horizon() -> None:
    found = backtests([Asked(series(growing(600)))])["fra"]

    assert [each.horizon_days for each in found if not isinstance(each, str)] == [7, 30, 90]


def test_a_sum_is_bound_by_those_that_were_there_and_not_by_those_that_left_before() -> None:
    nodes = [node("fra-1", np.full(DAYS, 1e9)), node("fra-2", np.full(60, 1e9))]
    late, early = (
        Period(at(FIRST + timedelta(days=begin)), at(FIRST + timedelta(days=begin + 30)))
        for begin in (90, 40)
    )

    now, then = percentiles_of(nodes, late), percentiles_of(nodes, early)

    own = now["uplink/fra-1"].percentiles.receive_bits_per_second
    assert own is not None
    assert now["location/fra"].percentiles.upper_bound_bits_per_second == own
    both = [then[f"uplink/fra-{number}"].percentiles.receive_bits_per_second for number in (1, 2)]
    bound = then["location/fra"].percentiles.upper_bound_bits_per_second
    assert bound == sum(each for each in both if each is not None)
    assert None not in both
    assert now["uplink/fra-2"].percentiles.notes == ["no slot of the period is known"]
    # Hourly windows of what is the same all day.
    assert now["location/fra"].percentiles.receive_bits_per_second == pytest.approx(1e9)
    assert own >= PEAK * 1e9


def test_a_bill_is_for_the_busier_direction_and_needs_a_percentile() -> None:
    nodes = [node("fra-1", np.full(DAYS, 1e9), transmit=2.0), node("fra-2", np.full(60, 1e9))]
    period = Period(at(FIRST + timedelta(days=90)), at(LAST + timedelta(days=1)))

    found = percentiles_of(nodes, period, commits={"fra": 1.5e9}, price=2.0)
    unpriced = percentiles_of(nodes, period, commits={"": 4e9})

    bill = found["location/fra"].bill
    assert bill is not None
    # 30 days of windows of an hour, in all of which 2 Gbit/s were sent.
    assert (bill.slots_above_least, bill.slots_above_most) == (720, 720)
    assert bill.room_bits_per_second == pytest.approx(-0.5e9)
    assert bill.projected == bill.to_date == pytest.approx(2000 * 2.0)
    assert found["uplink/fra-1"].bill is None
    assert unpriced["uplink/fra-2"].bill is None
    whole = unpriced["fleet/fleet"].bill
    assert whole is not None
    assert (whole.to_date, whole.projected, whole.slots_above_most) == (None, None, 0)

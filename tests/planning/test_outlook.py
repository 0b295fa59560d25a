"""What is said of a place, and in which order places are told."""

import re
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from msgspec.structs import replace as replaced

from tests.planning.fleets import FIRST, GIGABIT, PEAK, node
from tests.planning.series import growing
from trafficd.planning.document import Summary
from trafficd.planning.outlook import Outlook, Terms, ranked, utc
from trafficd.planning.places import Place, places
from trafficd.planning.saturation import saturation

DAYS = 800
LAST = FIRST + timedelta(days=DAYS - 1)
TERMS = Terms()


def place(rates: np.typing.NDArray[np.float64], *, capacity: float = 10 * GIGABIT) -> Place:
    """Return the uplink of a node with those means."""
    return places([node("fra-1", rates, capacity=capacity)], LAST)[-1]


def scaled(now: float, *, a_year: float) -> np.typing.NDArray[np.float64]:
    """Return growing means whose p95 comes to *now* in the end."""
    grown = growing(DAYS, a_year=a_year, noise=0.01)
    scaled: np.typing.NDArray[np.float64] = grown / grown[-7:].max() * now / PEAK
    return scaled


def test_a_window_is_that_of_the_capacity_s_part_and_an_order_its_lead_time_before() -> None:
    growing_uplink = place(scaled(6.8 * GIGABIT, a_year=1.5))

    said = Outlook.of(growing_uplink).summary(replace(TERMS, lead_days=45))

    method = Outlook.of(growing_uplink).method
    assert method is not None
    (expected,) = saturation(method, [0.8 * 10 * GIGABIT])
    crossing = next(each for each in said.crossings if each.threshold == 0.8)
    assert (crossing.first, crossing.last) == (expected.first, expected.last)
    assert expected.first is not None
    assert said.order_by == crossing.order_by == expected.first - timedelta(days=45)
    assert f"is reached between {expected.first} and {expected.last}" in said.sentence
    # The same growth, looked at when it is past; one window in five does not hold.
    later = growing(2 * DAYS, a_year=1.5, noise=0.01)
    came = later / later[DAYS - 7 : DAYS].max() * 6.8 * GIGABIT
    true = FIRST + timedelta(days=DAYS + int(np.argmax(came[DAYS:] >= 8 * GIGABIT)))
    assert expected.last is not None
    assert expected.first - timedelta(days=30) <= true <= expected.last + timedelta(days=30)


def test_thresholds_are_told_from_low_to_high_with_the_one_that_is_ordered_at() -> None:
    said = Outlook.of(place(scaled(5.2 * GIGABIT, a_year=1.3))).summary(
        Terms(thresholds=(1.0, 0.5), order_at=0.75)
    )

    assert [each.threshold for each in said.crossings] == [0.5, 0.75, 1.0]
    assert said.crossings[0].reason == "it is reached already, in the last seven days"


def test_what_is_reached_already_is_to_be_ordered_now() -> None:
    said = Outlook.of(place(scaled(8.5 * GIGABIT, a_year=1.3))).summary(TERMS)

    assert said.order_by == LAST
    assert said.sentence.endswith("80 % is reached already: order now.")


def test_an_order_that_was_due_is_said_to_be_late() -> None:
    said = Outlook.of(place(scaled(7.9 * GIGABIT, a_year=1.5))).summary(
        replace(TERMS, lead_days=365)
    )

    assert said.order_by is not None
    assert said.order_by < LAST
    assert f"order now, it was due by {said.order_by}" in said.sentence


@pytest.mark.parametrize(
    ("uplink", "reason"),
    [
        (place(scaled(3e9, a_year=1.2), capacity=0.0), "no capacity is stated"),
        (place(np.zeros(DAYS)), "0 days with traffic"),
        (place(scaled(1e9, a_year=0.6)), "it is not reached in 400 days"),
    ],
)
def test_where_no_day_can_be_told_the_reason_is(uplink: Place, reason: str) -> None:
    said = Outlook.of(uplink).summary(TERMS)

    assert said.order_by is None
    assert reason in said.sentence


def test_growth_is_that_of_a_year_with_its_interval() -> None:
    said = Outlook.of(place(scaled(5e9, a_year=1.4))).summary(TERMS)

    assert said.growth is not None
    assert said.growth.days == 365
    # Three quarters of a slope that was seen for two years are believed.
    assert said.growth.point == pytest.approx(1.4**0.75 - 1, abs=0.02)
    assert said.growth.low_80 < said.growth.point < said.growth.high_80


def test_growth_that_is_supposed_comes_on_top() -> None:
    uplink = place(scaled(5e9, a_year=1.2))
    plain, more = (
        Outlook.of(uplink).summary(TERMS, drift=drift) for drift in (0.0, np.log(1.3) / 365)
    )

    assert plain.growth is not None
    assert more.growth is not None
    assert (1 + more.growth.point) / (1 + plain.growth.point) == pytest.approx(1.3)
    assert more.order_by is not None
    assert plain.order_by is None or more.order_by < plain.order_by


def test_the_most_urgent_come_first_and_those_without_a_date_by_how_full_they_are() -> None:
    def summary(name: str, order_by: date | None, used: float | None) -> Summary:
        plain = Outlook.of(place(scaled(5e9, a_year=1.2))).summary(TERMS)
        # At an early edge of a threshold that is not reached, unless it is.
        is_reached = name in ("over", "just over")
        edge = None if is_reached or order_by is None else order_by + timedelta(days=60)
        at = next(each for each in plain.crossings if each.threshold == 0.8)
        crossing = replaced(at, first=edge, last=edge, order_by=order_by)
        return Summary(
            **{
                **{each: getattr(plain, each) for each in plain.__struct_fields__},
                "name": name,
                "order_by": order_by,
                "utilisation": used,
                "crossings": [replaced(at, threshold=0.5, first=None), crossing],
            }
        )

    found = ranked(
        [
            summary("empty", None, None),
            summary("full", None, 0.7),
            summary("later", date(2027, 1, 1), 0.9),
            summary("first", date(2026, 1, 1), 0.1),
            summary("just over", date(2026, 2, 1), 0.81),
            summary("over", date(2026, 2, 1), 0.95),
            summary("half", None, 0.5),
        ],
        0.8,
    )

    with_date, without = ["over", "just over", "first", "later"], ["full", "half", "empty"]
    assert [each.name for each in found] == with_date + without


def test_moments_are_written_in_utc() -> None:
    assert utc(1_795_484_400) == "2026-11-24 01:40 UTC"
    assert utc(0) is None
    assert re.fullmatch(r"[\d-]{10} [\d:]{5} UTC", utc(1) or "")


def test_a_place_that_everybody_left_has_nothing_to_come() -> None:
    gone = places(
        [node("fra-1", scaled(5e9, a_year=1.4)[:600]), node("ams-1", np.ones(DAYS))], LAST
    )

    for each in gone:
        if each.name in ("fra", "fra-1"):
            said = Outlook.of(each).summary(TERMS)
            since = FIRST + timedelta(days=599)
            assert said.sentence == f"nothing has been heard from here since {since}."
            assert said.growth_reason == f"nothing has been heard from here since {since}"
            assert (said.growth, said.order_by, said.crossings) == (None, None, [])


def test_an_order_that_is_due_on_the_day_that_is_over_is_late() -> None:
    uplink = place(scaled(7.0 * GIGABIT, a_year=1.5))
    told = Outlook.of(uplink).summary(replace(TERMS, lead_days=1))
    edge = next(each.first for each in told.crossings if each.threshold == 0.8)
    assert edge is not None
    assert edge > LAST + timedelta(days=1)
    days = (edge - LAST).days

    due, ahead = (
        Outlook.of(uplink).summary(replace(TERMS, lead_days=each)) for each in (days, days - 1)
    )

    assert due.sentence.endswith(f"order now, it was due by {LAST}.")
    assert ahead.sentence.endswith(f"order by {LAST + timedelta(days=1)}.")


def test_what_is_used_now_may_be_unknown() -> None:
    uplink = replace(place(scaled(5 * GIGABIT, a_year=1.3)), recent_p95=None)

    said = Outlook.of(uplink).summary(TERMS)

    assert said.utilisation is None
    assert said.sentence.startswith("how full 10.0 Gbit/s are is not known; ")


def test_a_forecast_begins_after_the_last_day_though_it_is_not_known() -> None:
    rates = scaled(5e9, a_year=1.4)
    rates[-4:] = np.nan

    outlook = Outlook.of(place(rates))

    made, reason = outlook.told
    assert made is not None
    assert reason == ""
    assert made.first == LAST + timedelta(days=1)


def test_growth_of_less_than_a_week_is_none() -> None:
    rates = np.full(DAYS, np.nan)
    rates[-28 - 9 : -9] = 1e9
    rates[-2:] = np.nan
    uplink = places([node("fra-1", rates[-37:], first=LAST - timedelta(days=36))], LAST)[-1]
    # Silent for nine days, and not gone.
    outlook = Outlook.of(replace(uplink, nodes=("fra-1",), capacity=10 * GIGABIT))

    said = outlook.summary(TERMS)

    assert said.growth is None
    assert said.growth_reason == "it takes a forecast of 7 days, and the history carries 5"


def test_what_was_never_as_restless_has_no_forecast_and_says_so() -> None:
    rates = np.full(DAYS, 2e7)
    rates[-1] = 6e9

    said = Outlook.of(place(rates)).summary(TERMS)

    assert said.growth is None
    assert "as it never did before" in (said.growth_reason or "")
    assert {each.first for each in said.crossings} == {None}


def test_growth_that_may_be_tenfold_is_none() -> None:
    chance = np.random.default_rng(4)
    rates = 1e8 * np.exp(1.5 * chance.standard_normal(DAYS))

    said = Outlook.of(place(rates)).summary(TERMS)

    assert said.growth is None
    assert (said.growth_reason or "").startswith("it may be anything up to +")

"""What is said of a place, and in which order places are told."""

import re
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

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
        return Summary(
            **{
                **{each: getattr(plain, each) for each in plain.__struct_fields__},
                "name": name,
                "order_by": order_by,
                "utilisation": used,
            }
        )

    found = ranked(
        [
            summary("empty", None, None),
            summary("full", None, 0.7),
            summary("later", date(2027, 1, 1), 0.9),
            summary("first", date(2026, 1, 1), 0.1),
            summary("half", None, 0.5),
        ]
    )

    assert [each.name for each in found] == ["first", "later", "full", "half", "empty"]


def test_moments_are_written_in_utc() -> None:
    assert utc(1_795_484_400) == "2026-11-24 01:40 UTC"
    assert utc(0) is None
    assert re.fullmatch(r"[\d-]{10} [\d:]{5} UTC", utc(1) or "")

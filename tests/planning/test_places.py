"""Sums of nodes: who counts on which day, against sums written out."""

from datetime import timedelta

import numpy as np
import pytest

from tests.planning.fleets import FIRST, GIGABIT, PEAK, node, renamed
from trafficd.planning.node_history import Pair
from trafficd.planning.places import Level, Measure, Place, places

NAN = float("nan")


def of(found: list[Place]) -> dict[str, Place]:
    return {f"{each.level}/{each.name}": each for each in found}


def last_of(days: int) -> object:
    return FIRST + timedelta(days=days - 1)


def test_a_location_and_the_fleet_are_the_sums_of_their_nodes() -> None:
    nodes = [
        node("fra-1", [1e9] * 40),
        node("fra-2", [2e9] * 40),
        node("ams-1", [4e9] * 40, capacity=40 * GIGABIT),
    ]

    found = places(nodes, last_of(40))  # type: ignore[arg-type]

    assert [(each.level, each.name) for each in found] == [
        (Level.FLEET, "fleet"),
        (Level.LOCATION, "ams"),
        (Level.LOCATION, "fra"),
        (Level.UPLINK, "ams-1"),
        (Level.UPLINK, "fra-1"),
        (Level.UPLINK, "fra-2"),
    ]
    fleet, _, fra, *_ = found
    np.testing.assert_allclose(fleet.mean.values, 7e9)
    np.testing.assert_allclose(fra.mean.values, 3e9)
    np.testing.assert_allclose(fra.p95.values, 3e9 * PEAK)
    assert (fleet.capacity, fra.capacity) == (60 * GIGABIT, 20 * GIGABIT)
    assert fra.nodes == ("fra-1", "fra-2")
    assert fra.series(Measure.MEAN) is fra.mean


def test_the_busier_direction_of_the_sum_counts_and_not_of_each_node() -> None:
    nodes = [node("fra-1", [1e9] * 30), node("fra-2", [1e9] * 30, transmit=3.0)]

    fra = of(places(nodes, last_of(30)))["location/fra"]  # type: ignore[arg-type]

    # 1 + 1 received, 0.5 + 3 sent.
    np.testing.assert_allclose(fra.mean.values, 3.5e9)


def test_a_node_that_comes_or_leaves_counts_while_it_is_there_and_is_named() -> None:
    late = node("fra-2", [2e9] * 50, first=FIRST + timedelta(days=150))
    gone = node("fra-3", [5e9] * 100)

    fra = of(places([node("fra-1", [1e9] * 200), late, gone], last_of(200)))["location/fra"]  # type: ignore[arg-type]

    expected = np.full(200, 1e9)
    expected[150:] += 2e9
    expected[:100] += 5e9
    np.testing.assert_allclose(fra.mean.values, expected)
    assert fra.nodes == ("fra-1", "fra-2")
    assert fra.capacity == 20 * GIGABIT
    assert fra.notes == ("came in the last 90 days: fra-2", "not here any more: fra-3")


def test_a_node_that_was_silent_for_some_days_is_late_and_not_gone() -> None:
    nodes = [node("fra-1", [1e9] * 60), node("fra-2", [1e9] * 55)]

    fra = of(places(nodes, last_of(60)))["location/fra"]  # type: ignore[arg-type]

    assert fra.nodes == ("fra-1", "fra-2")
    np.testing.assert_allclose(fra.mean.values[:55], 2e9)
    assert np.isnan(fra.mean.values[55:]).all()


def test_little_that_is_missing_is_taken_in_proportion_and_much_is_not_known() -> None:
    small = node("fra-2", [1e8] * 20 + [NAN] + [1e8] * 19)
    large = node("fra-1", [4e9] * 30 + [NAN] + [4e9] * 9)

    fra = of(places([large, small], last_of(40)))["location/fra"]  # type: ignore[arg-type]

    expected = np.full(40, 4.1e9)
    expected[30] = NAN
    np.testing.assert_allclose(fra.mean.values, expected)


def test_a_day_with_few_of_its_releases_is_not_known_and_another_window_is() -> None:
    cut = node("fra-1", [1e9] * 40)
    releases = cut.releases.copy()
    releases[10] = 12.0
    # A window of five minutes from then on.
    releases[20:] = 288.0

    (_, _, uplink) = places([renamed(cut, releases=releases)], last_of(40))  # type: ignore[arg-type]

    assert np.flatnonzero(np.isnan(uplink.mean.values)).tolist() == [10]


def test_a_first_day_that_began_at_noon_is_not_whole() -> None:
    begun = node("fra-1", [5e8] + [1e9] * 9)
    releases = begun.releases.copy()
    releases[0] = 12.0

    (_, _, uplink) = places([renamed(begun, releases=releases)], last_of(10))  # type: ignore[arg-type]

    assert np.flatnonzero(np.isnan(uplink.mean.values)).tolist() == [0]


def test_what_was_held_back_for_days_is_spread_over_them() -> None:
    held = node("fra-1", [1e9] * 10 + [0.0, 0.0, 3e9] + [1e9] * 10)

    (_, _, uplink) = places([held], last_of(23))  # type: ignore[arg-type]

    np.testing.assert_allclose(uplink.mean.values, 1e9)


def test_an_uplink_without_a_capacity_has_no_percentile_and_says_so() -> None:
    found = of(places([node("fra-1", [1e9] * 40, capacity=0.0)], last_of(40)))  # type: ignore[arg-type]

    assert np.isnan(found["uplink/fra-1"].p95.values).all()
    assert found["uplink/fra-1"].recent_p95 is None
    assert "no capacity is stated" in found["uplink/fra-1"].notes[0]
    assert found["location/fra"].notes == ("1 uplink of those here states no capacity",)


@pytest.mark.parametrize("capacity", [10 * GIGABIT, 20 * GIGABIT])
def test_the_percentile_of_now_is_of_the_last_thirty_days(capacity: float) -> None:
    quiet, busy = 0.09 * capacity / PEAK, 0.29 * capacity / PEAK
    moved = node("fra-1", [busy] * 40 + [quiet] * 30, capacity=capacity)

    fra = of(places([moved, renamed(moved, node="fra-2")], last_of(70)))["location/fra"]  # type: ignore[arg-type]

    # All slots are between 5 and 10 % of the capacity.
    assert fra.recent_p95 == pytest.approx(2 * (0.05 + 0.05 * 0.95) * capacity, rel=1e-3)


def test_no_node_and_no_day_make_no_place() -> None:
    assert places([], FIRST) == []
    assert places([node("fra-1", [])], FIRST) == []


def test_a_place_that_everybody_left_says_so_and_not_that_it_states_no_capacity() -> None:
    nodes = [node("fra-1", [1e9] * 200), node("ams-1", [1e9] * 100)]

    found = of(places(nodes, last_of(200)))  # type: ignore[arg-type]

    since = FIRST + timedelta(days=99)
    for name in ("location/ams", "uplink/ams-1"):
        assert found[name].nodes == ()
        assert found[name].lack == f"nothing has been heard from here since {since}"
    assert found["location/fra"].lack == found["fleet/fleet"].lack == ""
    assert found["fleet/fleet"].notes == ("not here any more: ams-1",)


def test_the_first_day_alone_is_known_only_if_it_is_whole() -> None:
    noon, midnight = node("fra-1", [5e8]), node("ams-1", [5e8])

    found = of(places([renamed(noon, releases=np.array([12.0])), midnight], FIRST))

    assert np.isnan(found["uplink/fra-1"].mean.values).all()
    assert np.isnan(found["uplink/fra-1"].p95.values).all()
    assert found["uplink/fra-1"].nodes == ("fra-1",)
    assert found["uplink/fra-1"].capacity == 10 * GIGABIT
    np.testing.assert_allclose(found["uplink/ams-1"].mean.values, 5e8)


@pytest.mark.parametrize(("busy", "expected"), [(0, 0.0), (1, 0.0), (2, 0.05 * 10 * GIGABIT)])
def test_where_nothing_moved_the_percentile_of_now_is_nothing(busy: int, expected: float) -> None:
    moved = node("fra-1", [0.0] * (30 - busy) + [0.01e9] * busy)

    (_, _, uplink) = places([moved], last_of(30))  # type: ignore[arg-type]

    # Of 8,640 slots, 432 are above it: a day and a half. Busy ones are within the lowest bucket.
    assert uplink.recent_p95 is not None
    assert 0.0 <= uplink.recent_p95 <= expected
    assert (uplink.recent_p95 > 0) == (expected > 0)


def test_weeks_of_which_nothing_is_known_are_said() -> None:
    gap = [1e9] * 300 + [NAN] * 30 + [1e9] * 20
    nodes = [node("fra-1", gap), node("ams-1", [1e9] * 340 + [NAN] * 6 + [1e9] * 4)]

    found = of(places(nodes, last_of(350)))  # type: ignore[arg-type]

    said = "nothing is known of 30 of the last 350 days"
    assert found["location/fra"].notes == found["uplink/fra-1"].notes == (said,)
    assert found["location/ams"].notes == ()
    assert found["fleet/fleet"].notes == ("nothing is known of 36 of the last 350 days",)


def test_a_node_of_which_no_day_is_known_has_no_gap() -> None:
    silent = renamed(node("fra-1", [NAN] * 40), releases=np.full(40, 24.0))

    assert of(places([silent], last_of(40)))["location/fra"].notes == ()  # type: ignore[arg-type]


def test_what_is_held_back_still_is_not_known_and_what_is_idle_is_nothing() -> None:
    idle = node("fra-1", [1e9] * 30 + [0.0] * 3)
    p95 = idle.p95.receive.copy()
    p95[30:] = NAN
    held = renamed(idle, node="ams-1", location="ams", p95=Pair(p95, p95))
    unstated = node("nyc-1", [1e9] * 30 + [0.0] * 3, capacity=0.0)
    never = renamed(
        held,
        node="sgp-1",
        location="sgp",
        uplink=Pair(np.zeros(33), np.zeros(33)),
        p95=Pair(np.full(33, NAN), np.full(33, NAN)),
    )

    found = of(places([idle, held, unstated, never], last_of(33)))  # type: ignore[arg-type]

    for name in ("fra-1", "nyc-1"):
        assert found[f"uplink/{name}"].mean.values[28:].tolist() == [1e9, 1e9, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(found["uplink/ams-1"].mean.values[28:], [1e9, 1e9, NAN, NAN, NAN])
    assert np.isnan(found["uplink/sgp-1"].mean.values).all()
    assert found["uplink/ams-1"].nodes == ("ams-1",)

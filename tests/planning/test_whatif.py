"""Suppositions against arithmetic on shares and capacities, and their mistakes."""

from datetime import timedelta

import numpy as np
import pytest

from tests.planning.fleets import FIRST, GIGABIT, node
from tests.planning.series import growing
from trafficd.errors import HistoryError
from trafficd.planning.document import Summary
from trafficd.planning.outlook import Terms
from trafficd.planning.places import Place, places
from trafficd.planning.whatif import what_if

DAYS = 500
LAST = FIRST + timedelta(days=DAYS - 1)


def fleet() -> list[Place]:
    grown = growing(DAYS, noise=0.01, a_year=1.2)
    shape = grown / grown.mean()
    return places(
        [
            node("fra-1", 2e9 * shape),
            node("fra-2", 1e9 * shape),
            node("ams-1", 1e9 * shape, capacity=30 * GIGABIT),
            node("nyc-1", 2e9 * shape, capacity=10 * GIGABIT),
        ],
        LAST,
    )


def after(*supposed: tuple[str, str]) -> dict[str, Summary]:
    return {each.name: each for each in what_if(fleet(), Terms(), supposed).after}


def p95(found: Summary) -> float:
    assert found.p95_bits_per_second is not None
    return found.p95_bits_per_second


BEFORE = after()


def test_nothing_supposed_changes_nothing() -> None:
    found = what_if(fleet(), Terms(), [])

    assert found.before == found.after
    assert found.supposed == []
    assert [each.name for each in found.before] == [each.name for each in found.after]


def test_another_uplink_adds_capacity_and_no_traffic() -> None:
    found = after(("add", "fra:10Gbit"))

    assert found["fra"].capacity_bits_per_second == 30 * GIGABIT
    assert p95(found["fra"]) == p95(BEFORE["fra"])
    assert found["ams"] == BEFORE["ams"]


def test_a_lost_node_leaves_its_load_to_the_others_in_its_location() -> None:
    found = after(("lose_node", "fra-1"))

    assert found["fra"].capacity_bits_per_second == 10 * GIGABIT
    assert p95(found["fra"]) == p95(BEFORE["fra"])
    assert found["fra"].nodes == 1


@pytest.mark.parametrize("supposed", [("lose_location", "fra"), ("lose_node", "nyc-1")])
def test_a_lost_location_leaves_its_load_to_the_others_by_their_capacity(
    supposed: tuple[str, str],
) -> None:
    found = after(supposed)

    lost = "fra" if supposed[1] == "fra" else "nyc"
    assert lost not in found
    room = {name: each.capacity_bits_per_second or 0.0 for name, each in found.items()}
    for name, each in found.items():
        part = room[name] / sum(room.values())
        expected = p95(BEFORE[name]) + part * p95(BEFORE[lost])
        assert p95(each) == pytest.approx(expected)
        assert each.capacity_bits_per_second == BEFORE[name].capacity_bits_per_second
    assert sum(map(p95, found.values())) == pytest.approx(sum(map(p95, BEFORE.values())))


def test_a_part_of_the_traffic_moves_with_its_history() -> None:
    found = after(("move", "fra:ams:25"))

    assert p95(found["fra"]) == pytest.approx(0.75 * p95(BEFORE["fra"]))
    assert p95(found["ams"]) == pytest.approx(p95(BEFORE["ams"]) + 0.25 * p95(BEFORE["fra"]))
    assert found["ams"].mean_bits_per_second == pytest.approx(
        (BEFORE["ams"].mean_bits_per_second or 0) + 0.25 * (BEFORE["fra"].mean_bits_per_second or 0)
    )


def test_suppositions_come_to_pass_in_their_order() -> None:
    found = after(("move", "fra:ams:50"), ("lose_location", "ams"))

    # Half of fra, then all of ams with it, to fra and nyc by 20 and 10 Gbit/s.
    gone = p95(BEFORE["ams"]) + 0.5 * p95(BEFORE["fra"])
    assert p95(found["fra"]) == pytest.approx(0.5 * p95(BEFORE["fra"]) + gone * 2 / 3)
    assert p95(found["nyc"]) == pytest.approx(p95(BEFORE["nyc"]) + gone / 3)


def test_another_capacity_of_a_node_counts_for_its_location_once() -> None:
    found = after(("capacity", "fra-1:40Gbit"), ("capacity", "fra-1:20Gbit"))

    assert found["fra"].capacity_bits_per_second == 30 * GIGABIT


def test_growth_is_a_year_s_and_brings_orders_forward() -> None:
    found = what_if(fleet(), Terms(), [("growth", "50")])

    (nyc,) = (each for each in found.after if each.name == "nyc")
    assert nyc.growth is not None
    assert BEFORE["nyc"].growth is not None
    days = nyc.growth.days
    more = (1 + nyc.growth.point) / (1 + BEFORE["nyc"].growth.point)
    assert more == pytest.approx(1.5 ** (days / 365))
    assert found.supposed == ["+50 % a year on top of what is expected"]


def test_a_location_that_began_later_takes_over_what_was_there_before_it() -> None:
    grown = growing(DAYS, noise=0.01)
    young = node("sgp-1", grown[-100:] * 1e7, first=FIRST + timedelta(days=DAYS - 100))
    found = places([node("fra-1", grown * 1e7), young], LAST)

    moved = what_if(found, Terms(), [("move", "sgp:fra:100")])

    fra = next(each for each in moved.after if each.name == "fra")
    assert p95(fra) == pytest.approx(sum(p95(each) for each in moved.before))
    sgp = next(each for each in moved.after if each.name == "sgp")
    assert sgp.sentence


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        ("growth", "much", "growth 'much': write percent a year, like 20"),
        ("growth", "nan", "growth 'nan': write percent a year"),
        ("growth", "-95", "from -90 to 1000 percent a year"),
        ("add", "fra", "add 'fra': write LOCATION:CAPACITY, like fra:10Gbit"),
        ("add", "par:10Gbit", "'par': no such location; there are ams, fra, nyc"),
        ("add", "fra:10", "capacity '10': write a number and bit"),
        ("capacity", "fra-9:10Gbit", "'fra-9': no such node; there are"),
        ("lose_node", "fra", "'fra': no such node; there are"),
        ("lose_location", "fra-1", "'fra-1': no such location"),
        ("move", "fra:ams:0", "above 0, and at most 100 percent"),
        ("move", "fra:ams:101", "above 0, and at most 100 percent"),
        ("move", "fra:fra:10", "from a location to itself moves nothing"),
        ("move", "fra:ams", "write FROM:TO:PERCENT, like fra:ams:25"),
        ("buy", "more", "'buy': nothing that can be supposed"),
    ],
)
def test_what_makes_no_sense_is_answered_with_a_sentence(
    kind: str, value: str, sentence: str
) -> None:
    with pytest.raises(HistoryError, match=sentence.replace("(", r"\(")):
        after((kind, value))


def test_the_last_location_cannot_be_lost() -> None:
    only = places([node("fra-1", np.full(60, 1e9))], FIRST + timedelta(days=59))

    for supposed in (("lose_node", "fra-1"), ("lose_location", "fra")):
        with pytest.raises(HistoryError, match="no location left to carry the load"):
            what_if(only, Terms(), [supposed])


@pytest.mark.parametrize("supposed", [("lose_location", "ams"), ("move", "ams:fra:50")])
@pytest.mark.parametrize("capacity", [0.0, 10 * GIGABIT])
def test_what_is_not_known_is_not_moved_as_if_it_were_nothing(
    supposed: tuple[str, str], capacity: float
) -> None:
    # One states no capacity, so has no percentile; the other left.
    days = DAYS if not capacity else DAYS - 100
    found = places(
        [node("fra-1", np.full(DAYS, 1e9)), node("ams-1", np.full(days, 1e9), capacity=capacity)],
        LAST,
    )

    with pytest.raises(HistoryError, match="the p95 of the last days of ams is not known"):
        what_if(found, Terms(), [supposed])


def test_no_load_goes_where_no_capacity_is_stated() -> None:
    found = places(
        [node("fra-1", np.full(DAYS, 1e9)), node("ams-1", np.full(DAYS, 1e9), capacity=0.0)], LAST
    )

    with pytest.raises(HistoryError, match="fra: no other location states a capacity"):
        what_if(found, Terms(), [("lose_location", "fra")])


def test_what_another_would_carry_of_something_unknown_is_unknown() -> None:
    found = places(
        [node("fra-1", np.full(DAYS, 1e9)), node("ams-1", np.full(DAYS, 1e9), capacity=0.0)], LAST
    )

    moved = {each.name: each for each in what_if(found, Terms(), [("move", "fra:ams:50")]).after}

    assert moved["ams"].p95_bits_per_second is None
    assert "no capacity is stated" in moved["ams"].sentence

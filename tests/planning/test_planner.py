"""The plan as a whole: what it holds, what it keeps, and what it leaves out."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from tests.planning.fleets import DAY, FIRST, GIGABIT, PEAK, Held, at, node, renamed
from tests.planning.series import growing
from trafficd.errors import HistoryError
from trafficd.planning import planner as module
from trafficd.planning.backtest import backtest
from trafficd.planning.document import Plan, as_json
from trafficd.planning.forecast import forecast
from trafficd.planning.node_history import NodeWindows
from trafficd.planning.outlook import Outlook, Terms
from trafficd.planning.places import places
from trafficd.planning.planner import Planner

DAYS = 500
LAST = FIRST + timedelta(days=DAYS - 1)


def held(days: int = DAYS) -> Held:
    grown = growing(days, noise=0.02, a_year=1.3)
    shape = grown / grown[-1]
    return Held(
        node("fra-1", 5e9 * shape),
        node("fra-2", 3e9 * shape),
        node(
            "ams-1",
            1e9 * shape[-min(200, days) :],
            first=FIRST + timedelta(days=max(0, days - 200)),
        ),
    )


def test_a_plan_holds_what_the_method_says_of_each_place() -> None:
    made = Planner(held(), Terms()).plan(LAST)

    fleet, ams, fra, *_ = places(held().days(LAST), LAST)
    assert (made.as_of, made.history_begins) == (LAST, FIRST)
    assert [each.name for each in made.ranking] == ["fra", "ams"]
    assert set(made.locations) == {"ams", "fra"}
    detail = made.locations["fra"]
    expected = forecast(fra.p95, 250)
    assert [each.point for each in detail.forecast] == pytest.approx(expected.point.tolist())
    assert detail.forecast[0].date == LAST + timedelta(days=1)
    scores = backtest(Outlook.of(fra).method)  # type: ignore[arg-type]
    assert [each.smape_percent for each in detail.scores] == [each.smape for each in scores]
    assert made.locations["ams"].scores_reason == "200 days of history; a backtest takes 455"
    assert [each.name for each in detail.uplinks] == ["fra-1", "fra-2"]
    assert made.fleet is not None
    assert made.fleet.summary.capacity_bits_per_second == 30 * GIGABIT
    assert len(detail.history) == DAYS
    assert detail.history[-1].p95_bits_per_second == pytest.approx(8e9 * PEAK)
    assert fleet.name == made.fleet.summary.name
    assert ams.name == made.locations["ams"].summary.name


def test_a_plan_tells_how_the_last_thirty_days_were_used() -> None:
    made = Planner(held(), Terms()).plan(LAST).locations["fra"]

    assert made.usage is not None
    assert made.percentiles is not None
    assert made.usage.uplink_bytes_per_tunnel_byte == pytest.approx(1.1)
    assert made.usage.classes == {"wireguard": 1.0}
    assert made.percentiles.slots_seen == made.percentiles.slots_expected == 30 * 24
    assert made.percentiles.begin == f"{LAST - timedelta(days=29)}T00:00:00Z"
    # Its windows of an hour are all as its day was, the busiest being among the last thirty.
    known = [each.mean_bits_per_second for each in made.history[-30:]]
    ranked = sorted(rate for rate in known if rate is not None for _ in range(24))
    assert made.percentiles.receive_bits_per_second == pytest.approx(ranked[683])


def test_a_plan_as_of_a_day_forgets_what_came_later() -> None:
    day = LAST - timedelta(days=100)

    made = Planner(held(), Terms()).plan(day)

    expected = Planner(Held(*held().days(day)), Terms()).plan(day)
    # A node's last release is told as of now.
    assert as_json(made) == as_json(expected)
    assert made.as_of == day


def test_a_history_that_ended_earlier_is_told_as_of_its_end() -> None:
    assert Planner(held(), Terms()).plan(LAST + timedelta(days=50)).as_of == LAST


def test_what_has_not_changed_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    history = held()
    planner = Planner(history, Terms())
    first = planner.plan(LAST)
    calls: list[str] = []
    monkeypatch.setattr(module, "_detail", lambda place, *_: calls.append(place.name))
    monkeypatch.setattr(Outlook, "of", lambda place: calls.append(place.name))

    later = [renamed(each, last_release_at=each.last_release_at + 3600) for each in history.nodes]
    history.nodes = tuple(later)
    again = planner.plan(LAST)

    assert calls == []
    assert (
        again.locations["fra"].summary.last_release != first.locations["fra"].summary.last_release
    )
    assert again.locations["fra"].uplinks[0].last_release == (
        f"{LAST + timedelta(days=1)} 01:00 UTC"
    )


def test_a_day_more_is_computed() -> None:
    history = held()
    planner = Planner(history, Terms())

    before, after = planner.plan(LAST - timedelta(days=1)), planner.plan(LAST)

    assert after.as_of == LAST
    assert before.locations["fra"] != after.locations["fra"]
    assert len(after.locations["fra"].history) == len(before.locations["fra"].history) + 1


@pytest.mark.parametrize("nodes", [(), (node("fra-1", []),)])
def test_an_empty_history_has_a_reason(nodes: tuple[object, ...]) -> None:
    made = Planner(Held(*nodes), Terms()).plan(LAST)  # type: ignore[arg-type]

    assert (made.as_of, made.fleet, made.ranking, made.locations) == (None, None, [], {})
    assert made.reason is not None
    assert "no node has a day that is over" in made.reason


@pytest.mark.parametrize(
    "rates",
    [
        [1e9],
        [0.0] * 400,
        [float("nan")] * 40,
        [1e9] * 100 + [float("nan")] * 60 + [1e9] * 100,
        [1e9] * 27,
    ],
    ids=["one day", "nothing moved", "nothing known", "weeks missing", "27 days"],
)
@pytest.mark.parametrize("capacity", [0.0, 10 * GIGABIT])
def test_poor_histories_have_plans_without_made_up_numbers(
    rates: list[float], capacity: float
) -> None:
    last = FIRST + timedelta(days=len(rates) - 1)

    made = Planner(Held(node("fra-1", rates, capacity=capacity)), Terms()).plan(last)

    (said,) = made.ranking
    assert said.sentence
    assert all(crossing.first is None for crossing in said.crossings)
    text = as_json(made)
    assert b"NaN" not in text
    assert b"Infinity" not in text
    assert msgspec.json.decode(text, type=Plan) == made


def test_suppositions_are_of_what_was_read_last() -> None:
    planner = Planner(held(), Terms())
    planner.read(LAST)

    found = planner.what_if([("lose_location", "ams")])

    assert [each.name for each in found.after] == ["fra"]
    with pytest.raises(HistoryError, match="no such location"):
        planner.what_if([("lose_location", "par")])
    with pytest.raises(HistoryError, match="no node has a day that is over"):
        Planner(Held(), Terms()).what_if([])


def test_windows_are_read_for_the_last_thirty_days_and_one_before() -> None:
    asked: list[tuple[int, int]] = []

    class Watched(Held):
        def windows(self, since: int, until: int) -> list[NodeWindows]:
            asked.append((since, until))
            return super().windows(since, until)

    Planner(Watched(node("fra-1", np.full(100, 1e9))), Terms()).plan(FIRST + timedelta(days=99))

    end = at(FIRST + timedelta(days=100))
    assert asked == [(end - 31 * DAY, end)]


@pytest.mark.parametrize("change", ["windows", "classes", "slots"])
def test_what_is_told_of_the_last_days_is_told_anew_when_it_changes(change: str) -> None:
    class Late(Held):
        part = 1.0

        def windows(self, since: int, until: int) -> list[NodeWindows]:
            found = super().windows(since, until)
            for each in found:
                each.uplink.receive[-5:] *= self.part
            return found

    one = node("fra-1", np.full(100, 1e9))
    history = Late(one)
    planner = Planner(history, Terms())
    day = FIRST + timedelta(days=99)
    before = planner.plan(day).locations["fra"]

    match change:
        case "windows":
            history.part = np.nan
        case "classes":
            history.nodes = (renamed(one, classes={"ppp": one.tunnel}),)
        case "slots":
            busier = np.roll(one.slots.receive, 17, axis=1)
            history.nodes = (renamed(one, slots=replace(one.slots, transmit=busier)),)
    after = planner.plan(day).locations["fra"]

    assert after.usage is not None
    assert after.percentiles is not None
    assert before.percentiles is not None
    match change:
        case "windows":
            assert after.percentiles.slots_seen == before.percentiles.slots_seen - 5
        case "classes":
            assert after.usage.classes == {"ppp": 1.0}
        case "slots":
            assert after.usage != before.usage


def test_the_bound_is_of_all_that_were_there_in_the_last_days() -> None:
    nodes = [node("fra-1", np.full(100, 1e9)), node("fra-2", np.full(85, 1e9))]
    gone = node("fra-3", np.full(40, 1e9))
    day = FIRST + timedelta(days=99)

    some, more = (
        Planner(Held(*each), Terms()).plan(day).locations["fra"].percentiles
        for each in (nodes, [*nodes, gone])
    )

    assert some is not None
    assert more is not None
    # Of each that was there for half of the time as well.
    assert some.upper_bound_bits_per_second == more.upper_bound_bits_per_second
    assert some.upper_bound_bits_per_second == pytest.approx(2 * 1.475e9, rel=0.01)


def test_a_history_that_is_refused_a_forecast_has_a_plan_with_the_reason() -> None:
    rates = np.full(600, 2e7)
    rates[-1] = 6e9

    made = Planner(Held(node("fra-1", rates)), Terms()).plan(FIRST + timedelta(days=599))

    detail = made.locations["fra"]
    assert detail.forecast == []
    assert "as it never did before" in (detail.forecast_reason or "")
    assert detail.summary.growth_reason == detail.forecast_reason
    # Before that day it was as good as it gets.
    assert detail.scores
    assert msgspec.json.decode(as_json(made), type=Plan) == made


def test_days_without_windows_are_told_all_the_same() -> None:
    class NoWindows(Held):
        def windows(self, since: int, until: int) -> list[NodeWindows]:
            return []

    history = NoWindows(node("fra-1", np.full(100, 1e9)))
    made = Planner(history, Terms()).plan(FIRST + timedelta(days=99)).locations["fra"]

    assert made.percentiles is not None
    assert made.percentiles.highest_bits_per_second is None
    assert "no slot of the period is known" in made.percentiles.notes
    assert made.percentiles.upper_bound_bits_per_second is not None
    assert made.usage is not None
    assert made.usage.busy_hour_utc is None


def test_who_forgets_has_heard_of_no_later_release() -> None:
    history, day = held(), LAST - timedelta(days=1)

    told, forgotten = (
        Planner(history, Terms(), forgets=each).ranking(day).ranking for each in (False, True)
    )

    assert {each.last_release for each in told} == {f"{LAST + timedelta(days=1)} 00:00 UTC"}
    assert {each.last_release for each in forgotten} == {None}
    (now, *_) = Planner(history, Terms(), forgets=True).ranking(LAST).ranking
    assert now.last_release == f"{LAST + timedelta(days=1)} 00:00 UTC"

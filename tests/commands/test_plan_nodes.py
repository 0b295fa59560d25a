"""trafficd plan of a collector's file, as a process: the fleet and its places."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.commands.planned import DAY_SECONDS, END, LAST, fleet, plan, said
from trafficd.planning import answers
from trafficd.planning.document import Ranking
from trafficd.planning.forecast import Method as ForecastMethod
from trafficd.planning.outlook import Terms
from trafficd.planning.percentile import Method
from trafficd.planning.period import Period
from trafficd.planning.places import Level, Measure, places
from trafficd.planning.planner import Planner
from trafficd.planning.saturation import saturation
from trafficd.planning.sqlite_history import SqliteHistory

# What scripts rest on.
SUMMARY = {
    *("level", "name", "location", "nodes", "capacity_bits_per_second", "p95_bits_per_second"),
    *("mean_bits_per_second", "utilisation", "growth", "growth_reason", "crossings", "order_by"),
    *("last_release", "sentence", "notes"),
}
PERCENTILES = {
    *("begin", "end", "receive_bits_per_second", "transmit_bits_per_second"),
    *("highest_bits_per_second", "both_bits_per_second", "error_bits_per_second"),
    *("upper_bound_bits_per_second", "slots_seen", "slots_expected", "resolution", "notes"),
}
BILL = {
    *("commit_bits_per_second", "room_bits_per_second", "share", "slots_above_least"),
    *("slots_above_most", "to_date", "projected"),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fleet(tmp_path_factory.mktemp("nodes") / "collector.db")


@pytest.fixture(scope="module")
def history(file: Path) -> str:
    return f"sqlite:{file}"


def test_the_ranking_is_the_planner_s_with_stable_names(file: Path, history: str) -> None:
    found = said("rank", "--history", history, "--threshold", "60%", "--lead-days", "30")

    terms = Terms((0.6,), 0.8, 30)
    assert msgspec.convert(found, Ranking) == Planner(SqliteHistory(file), terms).ranking(LAST)
    assert found.keys() == {
        *("as_of", "lead_days", "thresholds", "order_at", "ranking", "reason"),
    }
    assert (found["as_of"], found["lead_days"], found["thresholds"]) == (
        "2024-10-03",
        30,
        [0.6, 0.8],
    )
    assert {each["name"]: each["nodes"] for each in found["ranking"]} == {"site-1": 3, "site-2": 2}
    for each in found["ranking"]:
        assert each.keys() == SUMMARY
        assert each["growth"].keys() == {"days", "point", "low_80", "high_80"}
        for crossing in each["crossings"]:
            assert crossing.keys() == {
                *("threshold", "threshold_bits_per_second", "first", "last", "order_by", "reason"),
            }
    assert found["ranking"][0]["capacity_bits_per_second"] in (20e9, 30e9)


def test_a_ranking_in_csv_has_a_line_a_location(history: str) -> None:
    done = plan("rank", "--history", history, "--csv")

    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["name"] for row in rows] == [
        each["name"] for each in said("rank", "--history", history)["ranking"]
    ]
    assert rows[0].keys() == SUMMARY - {"growth", "crossings", "notes"}


def test_people_get_the_ranking_with_its_sentences(history: str) -> None:
    done = plan("rank", "--history", history)

    assert (done.returncode, done.stderr) == (0, "")
    for each in said("rank", "--history", history)["ranking"]:
        assert f"{each['name']}: {each['sentence']}" in done.stdout
    assert "As of the end of 2024-10-03, UTC" in done.stdout
    assert "Gbit/s" in done.stdout


def test_as_of_forgets_what_came_later(history: str) -> None:
    # The fifth node came a hundred days before the end.
    found = said("rank", "--history", history, "--as-of", "2024-05-31")

    assert found["as_of"] == "2024-05-31"
    assert {each["name"]: each["nodes"] for each in found["ranking"]} == {"site-1": 2, "site-2": 2}
    assert {each["capacity_bits_per_second"] for each in found["ranking"]} == {20e9}
    assert not any(each["notes"] for each in found["ranking"])
    assert {each["last_release"] for each in found["ranking"]} == {None}


@pytest.mark.parametrize(("most", "code"), [("1%", 3), ("0.01", 3), ("500%", 0)])
def test_a_location_that_is_too_full_ends_with_3(history: str, most: str, code: int) -> None:
    for question in ("rank", "whatif"):
        assert plan(question, "--history", history, "--fail-above", most).returncode == code


def test_percentiles_are_those_of_the_period_in_its_time_zone(file: Path, history: str) -> None:
    found = said(
        *("p95", "--history", history, "--as-of", "2024-10-03", "--in", "2024-08-20"),
        *("--first-day", "15", "--time-zone", "Asia/Tokyo", "--method", "librenms"),
    )

    # Midnight there is nine hours before that in UTC.
    begin, end = (int(datetime(2024, month, 14, 15, tzinfo=UTC).timestamp()) for month in (8, 9))
    source = SqliteHistory(file)
    nodes = source.days(LAST)
    windows = {each.node: each for each in source.windows(begin - DAY_SECONDS, end)}
    terms = answers.Billing(Period(begin, end), Method.LIBRENMS, {}, None, END)
    expected = answers.percentiles(places(nodes, LAST), nodes, windows, terms, list(Level))
    assert found == msgspec.to_builtins(expected)
    assert [each["level"] for each in found] == ["fleet"] + ["location"] * 2 + ["uplink"] * 5
    assert {each["percentiles"]["begin"] for each in found} == {"2024-08-14T15:00:00Z"}
    assert {each["percentiles"]["end"] for each in found} == {"2024-09-14T15:00:00Z"}
    for each in found:
        assert each.keys() == {"name", "level", "percentiles", "bill"}
        assert each["percentiles"].keys() == PERCENTILES
        assert each["bill"] is None
    # Of the days that begin and end at midnight in UTC, 30 lie within.
    assert {each["percentiles"]["slots_seen"] for each in found if each["level"] == "uplink"} == {
        30 * 288
    }


def test_a_bill_is_of_the_greater_of_percentile_and_commit(history: str) -> None:
    found = said(
        *("p95", "--history", history, "--as-of", "2024-09-15", "--level", "uplink"),
        *("--commit", "1Gbit", "--commit", "node-2=90Gbit", "--price", "0.5"),
    )

    assert len(found) == 5
    for each in found:
        assert each["bill"].keys() == BILL
        p95, bill = each["percentiles"]["highest_bits_per_second"], each["bill"]
        commit = 90e9 if each["name"] == "node-2" else 1e9
        assert bill["commit_bits_per_second"] == commit
        assert bill["room_bits_per_second"] == pytest.approx(commit - p95)
        assert bill["projected"] == pytest.approx(max(p95, commit) / 1e6 * 0.5)
        # Half of September is over.
        assert bill["to_date"] == pytest.approx(bill["projected"] / 2)
    table = plan(
        *("p95", "--history", history, "--as-of", "2024-09-15", "--commit", "1Gbit"),
        *("--level", "location", "--level", "fleet"),
    )
    assert all(word in table.stdout for word in ("fleet", "site-1", "bill to date", "slots seen"))
    assert "node-1" not in table.stdout


def test_percentiles_in_csv_and_above_what_is_named(history: str) -> None:
    words = ("p95", "--history", history, "--as-of", "2024-09-30", "--csv")

    within, above = (plan(*words, "--fail-above", rate) for rate in ("900Tbit", "1Mbit"))

    assert (within.returncode, above.returncode) == (0, 3)
    assert within.stdout == above.stdout
    (first, *_) = csv.DictReader(io.StringIO(within.stdout))
    assert first.keys() == {"name", "level"} | PERCENTILES - {"notes"} | BILL


@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize("level", list(Level))
def test_places_are_forecast_by_level_and_measure(
    file: Path, history: str, level: Level, measure: Measure
) -> None:
    words = ("--history", history, "--level", str(level), "--measure", str(measure))

    found = said("forecast", *words, "--horizon", "20")
    crossings = said("saturation", *words, "--threshold", "0.7", "--lead-days", "10")

    chosen = [each for each in places(SqliteHistory(file).days(LAST), LAST) if each.level is level]
    assert (
        list(found["series"])
        == list(crossings["series"])
        == ["fleet" if level is Level.FLEET else f"{level}/{each.name}" for each in chosen]
    )
    for place, rows, (told,) in zip(
        chosen, found["series"].values(), crossings["series"].values(), strict=True
    ):
        method = ForecastMethod(place.series(measure))
        assert [row["point"] for row in rows] == method.forecast(20).point.tolist()
        assert rows[0]["date"] == f"{LAST + timedelta(days=1)}"
        (expected,) = saturation(method, [0.7 * place.capacity])
        assert told["threshold"] == 0.7 * place.capacity
        assert told["first"] == (expected.first and f"{expected.first}")
        assert told["reason"] == (expected.reason or None)
        assert told.keys() == {"threshold", "first", "last", "order_by", "reason"}


def test_people_get_rates_and_shares_with_their_units(history: str) -> None:
    forecast = plan("forecast", "--history", history, "--horizon", "30", "--level", "fleet")
    saturation = plan("saturation", "--history", history, "--series", "uplink/node-1")

    assert re.search(r"\d Gbit/s \(\d+\.?\d* Gbit/s to \d+\.?\d* Gbit/s\)", forecast.stdout)
    assert "in 7 days (80 %)" in forecast.stdout
    assert "in 30 days (80 %)" in forecast.stdout
    assert "70 %, 7.00 Gbit/s" in saturation.stdout


def test_suppositions_change_the_ranking_and_are_said(history: str) -> None:
    found = said(
        *("whatif", "--history", history, "--lose-node", "node-1", "--add", "site-2:10Gbit"),
        *("--growth", "20"),
    )

    assert found.keys() == {"supposed", "before", "after"}
    assert len(found["supposed"]) == 3
    before, after = (
        {each["name"]: each["capacity_bits_per_second"] for each in found[part]}
        for part in ("before", "after")
    )
    assert before == {"site-1": 30e9, "site-2": 20e9}
    assert after == {"site-1": 20e9, "site-2": 30e9}
    assert found["before"] == said("rank", "--history", history)["ranking"]
    table = plan("whatif", "--history", history, "--move", "site-1:site-2:25")
    assert "Supposed: 25 % of the traffic of site-1 moved to site-2." in table.stdout
    lines = plan("whatif", "--history", history, "--growth", "-5", "--csv").stdout
    assert {row["name"] for row in csv.DictReader(io.StringIO(lines))} == {"site-1", "site-2"}

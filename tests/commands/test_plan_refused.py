"""trafficd plan of a collector's file, as a process: what cannot be told, and why."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.commands.planned import DAY_SECONDS, END, LAST, SPAN, fleet, plan, said
from trafficd.collector.store import Store
from trafficd.demo.fleet import made_up
from trafficd.demo.history import fill

QUESTIONS = ["rank", "p95", "forecast", "saturation", "whatif", "backtest"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fleet(tmp_path_factory.mktemp("refused") / "collector.db")


@pytest.fixture(scope="module")
def history(file: Path) -> str:
    return f"sqlite:{file}"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("rank --as-of 2999-01-01", 1, "--as-of 2999-01-01: that day is not over in UTC"),
        ("p95 --in 2999-01-01", 1, "--in 2999-01-01: no day of that period is over"),
        ("p95 --in 9999-12-31", 1, "the billing period of 9999-12-31: no calendar goes as far"),
        ("p95 --as-of 2020-01-01", 1, "no node has a day that is over in this history"),
        ("forecast --as-of 2020-01-01", 1, "no node has a day that is over in this history"),
        ("whatif --as-of 2020-01-01", 1, "no node has a day that is over in this history"),
        ("p95 --time-zone Mars/Olympus", 1, "time zone 'Mars/Olympus': is not known here"),
        ("p95 --first-day 32", 2, "'32' is not a day of a month, 1 to 31"),
        (
            "p95 --commit par=1Gbit",
            1,
            "--commit par: no such place; there are fleet, node-1, node-2",
        ),
        ("p95 --commit 1", 2, "'1': write a number and bit"),
        ("p95 --commit a/b=1Gbit", 2, "write a rate, or fra=10Gbit"),
        ("p95 --price 0", 2, "'0' is not a number above 0"),
        ("p95 --price 1e308", 2, "'1e308' is not a number above 0, from 1e-100 to 1e+100"),
        ("rank --threshold 1e-300", 2, "'1e-300' is not a number above 0"),
        ("rank --threshold much", 2, "'much' is not a number"),
        ("forecast --series par", 1, "--series par: there are fleet, location/site-1"),
        ("whatif --lose-location site-1 --lose-location site-2", 1, "no location left to carry"),
        ("whatif --growth 1e308", 1, "growth 1e308: from -90 to 1000 percent a year"),
        ("whatif --growth nan", 1, "growth 'nan': write percent a year, like 20"),
        ("rank --header =", 2, "write NAME:VALUE, like X-Scope-OrgID:vpn"),
        ("rank --user-file /nowhere --history prometheus:http://[::1]:1", 1, "/nowhere: cannot be"),
        ("rank --history prometheus:http://127.0.0.1:1", 1, "127.0.0.1:1"),
        ("rank --history prometheus:here", 1, "has to be an address like http://HOST:9090"),
        ("rank --history sqlite:/nowhere", 1, "/nowhere: no such file"),
        ("forecast --history sqlite:", 1, "--history sqlite:: has to be sqlite:FILE or prometheus"),
    ],
)
def test_a_question_that_cannot_be_is_answered_with_a_sentence(
    history: str, words: str, code: int, sentence: str
) -> None:
    question, *more = words.split()

    done = plan(question, "--history", history, *more)

    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert "internal error" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 or code == 2


def test_a_period_before_the_history_has_no_percentile_and_says_why(history: str) -> None:
    done = plan("p95", "--history", history, "--in", "2020-01-01", "--json")

    assert done.returncode == 1
    for each in json.loads(done.stdout):
        assert each["percentiles"]["highest_bits_per_second"] is None
        assert "no slot of the period is known" in each["percentiles"]["notes"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_empty_history_has_a_reason(tmp_path: Path, question: str) -> None:
    Store(tmp_path / "empty.db").close()

    done = plan(question, "--history", f"sqlite:{tmp_path / 'empty.db'}")

    assert done.returncode == 1
    assert "no node has a day that is over in this history" in done.stdout + done.stderr
    lines = plan(question, "--history", f"sqlite:{tmp_path / 'empty.db'}", "--csv")
    assert (lines.returncode, lines.stdout) == (1, "")
    assert "no node has a day that is over in this history" in lines.stderr


@pytest.mark.parametrize("question", QUESTIONS)
def test_one_day_and_a_day_of_nothing_have_no_made_up_numbers(
    tmp_path: Path, question: str
) -> None:
    path = tmp_path / "day.db"
    members = [replace(each, level_bytes=0) for each in made_up(2, 1)]
    with closing(Store(path)) as store:
        fill(store, members, replace(SPAN, days=1))

    done = plan(question, "--history", f"sqlite:{path}", "--as-of", f"{LAST}", "--json")

    assert "internal" not in done.stderr
    found = json.loads(done.stdout)
    match question:
        case "rank":
            (only,) = found["ranking"]
            assert only["p95_bits_per_second"] == only["mean_bits_per_second"] == 0.0
            assert only["growth"] is only["order_by"] is None
            assert "0 days with traffic; a forecast takes 28" in only["sentence"]
        case "p95":
            assert {each["percentiles"]["highest_bits_per_second"] for each in found} == {0.0}
        case "whatif":
            assert found["before"] == found["after"]
        case _:
            assert found["series"] == {}
            assert done.returncode == 1
            assert all("0 days with traffic" in each for each in found["refused"].values())


def test_a_node_that_was_renamed_is_not_taken_for_growth_or_for_a_lack(tmp_path: Path) -> None:
    path = tmp_path / "renamed.db"
    first, second = made_up(2, 1)
    with closing(Store(path)) as store:
        fill(store, [first], replace(SPAN, until=END - 40 * DAY_SECONDS, days=80))
        fill(
            store,
            [replace(second, level_bytes=first.level_bytes, growth=first.growth)],
            replace(SPAN, days=40),
        )

    (found,) = said("rank", "--history", f"sqlite:{path}")["ranking"]
    lost = plan("forecast", "--history", f"sqlite:{path}", "--series", f"uplink/{first.name}")

    assert found["capacity_bits_per_second"] == 10e9
    assert found["nodes"] == 1
    assert found["notes"] == [
        f"came in the last 90 days: {second.name}",
        f"not here any more: {first.name}",
    ]
    # As much on either day, give or take what chance makes of it.
    assert abs(found["growth"]["point"]) < 0.1
    assert lost.returncode == 1
    assert "nothing has been heard from here since 2024-08-24" in lost.stdout


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("PRAGMA user_version = 999", "of version 999, and this trafficd knows up to"),
        ("PRAGMA application_id = 1", "another program's database"),
        ("DROP TABLE daily", "no such table: daily"),
        ("UPDATE daily SET body = x'00'", ""),
    ],
)
def test_a_file_that_is_not_ours_has_one_line_that_says_so(
    file: Path, tmp_path: Path, statement: str, sentence: str
) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(file.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)

    done = plan("rank", "--history", f"sqlite:{path}")

    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr
    assert "internal error" not in done.stderr

"""trafficd plan of series, as a process: documents for machines, tables for people, reasons."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.commands.planned import plan
from tests.planning.series import FIRST, growing, wandering
from trafficd.planning.csv_history import read_csv
from trafficd.planning.forecast import forecast

DAYS = 800


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plan") / "uplinks.csv"
    columns = {"fra": growing(DAYS, noise=0.02), "ams": wandering(DAYS, seed=3)}
    with file.open("w") as lines:
        writer = csv.writer(lines)
        writer.writerow(["date", *columns, "new"])
        for day in range(DAYS):
            values = [repr(float(each[day])) for each in columns.values()]
            # The third is there for the last three weeks only.
            writer.writerow([FIRST + timedelta(days=day), *values, 5 if day >= DAYS - 21 else ""])
    return file


def test_a_forecast_has_stable_names_and_begins_the_day_after_the_history(history: Path) -> None:
    done = plan("forecast", "--history", f"csv:{history}", "--horizon", "30", "--json")

    said = json.loads(done.stdout)
    rows = said["series"]["fra"]
    made = forecast(read_csv(history)[0], 30)
    assert done.returncode == 0
    assert [row["date"] for row in rows] == [
        (FIRST + timedelta(days=DAYS + each)).isoformat() for each in range(30)
    ]
    assert list(rows[0]) == ["date", "point", "low_80", "high_80", "low_95", "high_95"]
    assert [row["point"] for row in rows] == pytest.approx(made.point.tolist())
    assert [row["high_95"] for row in rows] == pytest.approx(made.high[0.95].tolist())
    assert set(said["series"]) == {"fra", "ams"}
    assert said["refused"]["new"].startswith("21 days with traffic; a forecast takes 28")


def test_as_of_forgets_what_came_later(history: Path, tmp_path: Path) -> None:
    day = FIRST + timedelta(days=599)
    shorter = tmp_path / "shorter.csv"
    shorter.write_text("".join(history.read_text().splitlines(keepends=True)[:601]))

    then = plan("forecast", "--history", f"csv:{history}", "--as-of", f"{day}", "--csv")
    now = plan("forecast", "--history", f"csv:{shorter}", "--csv")

    assert then.stdout == now.stdout
    (first, *_) = csv.DictReader(io.StringIO(then.stdout))
    assert (first["series"], first["date"]) == ("fra", f"{day + timedelta(days=1)}")


def test_a_threshold_has_a_window_and_a_day_to_order_by_or_a_reason(history: Path) -> None:
    fra = read_csv(history)[0].values[-1]
    soon, never = f"{fra * 1.2:.1f}", f"{fra * 1e6:.1f}"

    done = plan(
        *("saturation", "--history", f"csv:{history}", "--series", "fra", "--json"),
        *("--threshold", soon, "--threshold", never, "--lead-days", "30"),
    )

    told, refused = json.loads(done.stdout)["series"]["fra"]
    assert told["threshold"] == float(soon)
    assert told["order_by"] < told["first"] < told["last"]
    assert told["reason"] is None
    assert refused["first"] is refused["last"] is refused["order_by"] is None
    assert "is not reached" in refused["reason"]


def test_the_backtest_says_how_good_its_word_has_been(history: Path) -> None:
    done = plan("backtest", "--history", f"csv:{history}", "--json")

    said = json.loads(done.stdout)
    assert [row["horizon_days"] for row in said["series"]["ams"]] == [7, 30, 90]
    assert all(0.6 <= row["covered_80"] <= 1.0 for row in said["series"]["ams"])
    assert said["refused"].keys() == {"new"}


@pytest.mark.parametrize("question", ["forecast", "backtest", "saturation"])
def test_people_get_a_table_with_every_series_and_the_reasons(history: Path, question: str) -> None:
    more = ["--threshold", "1000000"] if question == "saturation" else []

    done = plan(question, "--history", f"csv:{history}", *more)

    assert done.returncode == 0
    assert done.stderr == ""
    for word in ("fra", "ams", "new"):
        assert word in done.stdout
    assert "28" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--history", "csv:/nowhere.csv"], 1, "/nowhere.csv: cannot be read: No such file"),
        (
            ["--history", "sql:x"],
            1,
            "--history sql:x: has to be csv:FILE, sqlite:FILE or prometheus:URL",
        ),
        (["--history", "csv:"], 1, "--history csv:: has to be csv:FILE"),
        (["--series", "par"], 1, "--series par: "),
        (["--as-of", "yesterday"], 2, "'yesterday' is not a date like 2026-11-24"),
        (["--history", "csv:x", "--as-of", "2026-02-30"], 2, "is not a date like 2026-11-24"),
        (["--horizon", "0"], 2, "'0' is not a number of days, 1 to 3650"),
        (["--horizon", "99999"], 2, "'99999' is not a number of days, 1 to 3650"),
        (["--json", "--csv"], 2, "not allowed with argument"),
    ],
)
def test_a_question_that_cannot_be_is_answered_with_a_sentence(
    history: Path, words: list[str], code: int, sentence: str
) -> None:
    done = plan("forecast", "--history", f"csv:{history}", *words)

    assert done.returncode == code
    assert sentence in done.stderr
    assert done.stdout == ""


def test_nothing_to_answer_is_exit_code_1_with_the_reasons(history: Path) -> None:
    done = plan("forecast", "--history", f"csv:{history}", "--as-of", "2020-01-01", "--json")

    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["series"] == {}
    assert said["refused"].keys() == {"fra", "ams", "new"}


def test_a_column_that_ended_is_forecast_from_the_end_of_all(history: Path, tmp_path: Path) -> None:
    lines = history.read_text().splitlines()
    ended = [
        line if day < DAYS - 4 else line.split(",")[0] + ",,1,"
        for day, line in enumerate(lines[1:])
    ]
    file = tmp_path / "ended.csv"
    file.write_text("\n".join(["date,fra,ams,new", *ended]))

    done = plan("forecast", "--history", f"csv:{file}", "--series", "fra", "--json")

    assert json.loads(done.stdout)["series"]["fra"][0]["date"] == f"{FIRST + timedelta(days=DAYS)}"


def test_names_are_shown_as_they_are_and_documents_are_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "names.csv"
    rows = [f"{FIRST + timedelta(days=day)},{100 + day},5,6" for day in range(60)]
    file.write_text("\n".join(["date,[/red]x,:smile:,K\u00f6ln", *rows]), encoding="utf-8")
    words = ("forecast", "--history", f"csv:{file}", "--horizon", "14")

    table, document = plan(*words, encoding="ascii"), plan(*words, "--json", encoding="ascii")

    assert table.returncode == document.returncode == 0
    assert all(name in table.stdout for name in ("[/red]x", ":smile:", "K?ln"))
    assert json.loads(document.stdout)["series"].keys() == {"[/red]x", ":smile:", "K\u00f6ln"}


@pytest.mark.parametrize(("question", "expected"), [("forecast", 3), ("forecast --csv", 3)])
def test_a_forecast_above_what_is_named_ends_with_3(
    history: Path, question: str, expected: int
) -> None:
    words = (*question.split(), "--history", f"csv:{history}", "--series", "fra")

    assert plan(*words, "--fail-above", "1e99").returncode == 0
    assert plan(*words, "--fail-above", "1").returncode == expected


def test_a_file_of_series_has_no_capacity_and_no_nodes(history: Path) -> None:
    no_threshold = plan("saturation", "--history", f"csv:{history}")
    no_nodes = plan("rank", "--history", f"csv:{history}")

    assert no_threshold.returncode == no_nodes.returncode == 1
    assert "a CSV file states no capacity; say what is to be reached" in no_threshold.stderr
    assert "has series and no nodes" in no_nodes.stderr
    assert no_threshold.stdout == no_nodes.stdout == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the first line has to be: date"),
        ("date,fra\n", "no days in it"),
        ("date,fra\n2026-01-01,nan\n", "line 2: 'nan' is not a number from 0"),
        ("date,fra\n2026-01-01,1e308\n", "line 2: '1e308' is not a number from 0"),
        ("date,fra,fra\n2026-01-01,1,1\n", "each series takes a name of its own"),
    ],
)
def test_a_file_that_makes_no_sense_has_one_line_that_says_so(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)

    done = plan("forecast", "--history", f"csv:{file}")

    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"trafficd: {file}")
    assert sentence in done.stderr


def test_lines_leave_out_what_is_refused_and_the_reasons_are_said_beside_them(
    history: Path,
) -> None:
    some = plan("forecast", "--history", f"csv:{history}", "--csv")
    none = plan("forecast", "--history", f"csv:{history}", "--series", "new", "--csv")

    reason = "trafficd: new: 21 days with traffic; a forecast takes 28 at the least\n"
    assert some.stderr == none.stderr == reason
    assert {row["series"] for row in csv.DictReader(io.StringIO(some.stdout))} == {"fra", "ams"}
    assert (none.returncode, none.stdout) == (1, "")

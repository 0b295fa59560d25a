"""Series from a file: what is read, and what each mistake is called."""

import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from trafficd.errors import HistoryError
from trafficd.planning.csv_history import read_csv


def written(folder: Path, text: str) -> Path:
    file = folder / "history.csv"
    file.write_text(text)
    return file


def test_columns_are_series_over_the_same_days_and_holes_are_missing(tmp_path: Path) -> None:
    text = "date,fra,ams\n2026-01-03,3,\n2026-01-01,1.5, 2e3\n\n"

    fra, ams = read_csv(written(tmp_path, text))

    assert (fra.name, ams.name) == ("fra", "ams")
    assert fra.first == ams.first == date(2026, 1, 1)
    np.testing.assert_equal(fra.values, [1.5, np.nan, 3.0])
    np.testing.assert_equal(ams.values, [2000.0, np.nan, np.nan])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the first line has to be: date, then a name a series"),
        ("day,fra\n", "the first line has to be: date, then a name a series"),
        ("date\n", "the first line has to be: date, then a name a series"),
        ("date,fra,fra\n", "each series takes a name of its own; 'fra' is none"),
        ("date,fra,\n", "each series takes a name of its own; '' is none"),
        ("date,fra\n", "no days in it"),
        ("date,fra\n2026-01-01,1,2\n", "line 2: 3 cells under 2 headings"),
        ("date,fra\n01/02/2026,1\n", "line 2: '01/02/2026' is not a date like 2026-11-24"),
        ("date,fra\n2026-01-01,1\n2026-01-01,1\n", "line 3: a second row of 2026-01-01"),
        ("date,fra\n2026-01-01,many\n", "line 2: 'many' is not a number"),
        ("date,fra\n2026-01-01,-1\n", "line 2: '-1' is not a number from 0 to 1e"),
        ("date,fra\n2026-01-01,inf\n", "line 2: 'inf' is not a number from 0 to 1e"),
        ("date,fra\n2026-01-01,nan\n", "line 2: 'nan' is not a number from 0 to 1e"),
        ("date,fra\n2026-01-01,1e101\n", "line 2: '1e101' is not a number from 0 to 1e"),
        ("date,fra\n9999-12-31,1\n", "line 2: 9999-12-31 is too late for days after it"),
        ("date,\x1b[31mfra\n2026-01-01,1\n", r"'\x1b[31mfra' is none"),
        ("date,fra\n2026-01-01," + 100 * "x", f"line 2: '{40 * 'x'}…' is not a number"),
        ("date,fra\n0206-01-01,1\n2026-01-01,1\n", "more than a century"),
        ("date,fra\n2026-01-01,\x00\n", "is not a number"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(HistoryError, match=re.escape(sentence)):
        read_csv(written(tmp_path, text))


def test_a_few_rows_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(2000)]
    rows = [",".join([day, *("1" for _ in names)]) for day in ("1990-01-01", "2020-01-01")]
    text = "\n".join([",".join(["date", *names]), *rows])

    with pytest.raises(HistoryError, match="2,000 series over 10,958 days are too many"):
        read_csv(written(tmp_path, text))


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    with pytest.raises(HistoryError, match="cannot be read: No such file"):
        read_csv(file)
    file.write_bytes(b"date,fra\n\xff\xfe\n")
    with pytest.raises(HistoryError, match="not a CSV file in UTF-8"):
        read_csv(file)

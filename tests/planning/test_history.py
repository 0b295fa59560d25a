"""Series that a command line names."""

from datetime import date
from pathlib import Path

import pytest

from trafficd.errors import HistoryError
from trafficd.planning.history import read_series

TEXT = "date,fra,ams\n2026-01-01,1,4\n2026-01-02,2,5\n2026-01-03,3,6\n"


@pytest.fixture
def source(tmp_path: Path) -> str:
    file = tmp_path / "history.csv"
    file.write_text(TEXT)
    return f"csv:{file}"


def test_all_series_or_those_that_are_named_are_read(source: str) -> None:
    everything = read_series(source, names=[], as_of=None)
    (ams,) = read_series(source, names=["ams"], as_of=None)

    assert [each.name for each in everything] == ["fra", "ams"]
    assert ams.values.tolist() == [4.0, 5.0, 6.0]


def test_as_of_forgets_what_came_later(source: str) -> None:
    fra, ams = read_series(source, names=[], as_of=date(2026, 1, 2))

    assert (fra.last, ams.last) == (date(2026, 1, 2), date(2026, 1, 2))
    assert fra.values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("other", ["csv:", "sql:x", ""])
def test_what_is_no_file_of_series_is_said(other: str) -> None:
    with pytest.raises(HistoryError, match="has to be csv:FILE"):
        read_series(other, names=[], as_of=None)


def test_a_name_that_is_not_there_is_answered_with_those_that_are(source: str) -> None:
    with pytest.raises(HistoryError, match=r"--series par: .*history\.csv has fra, ams"):
        read_series(source, names=["fra", "par"], as_of=None)

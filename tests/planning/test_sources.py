from pathlib import Path

import pytest

from trafficd.errors import HistoryError
from trafficd.planning.prometheus_history import PrometheusHistory
from trafficd.planning.sources import Access, open_history
from trafficd.planning.sqlite_history import SqliteHistory


def test_a_source_is_opened_by_its_kind() -> None:
    assert isinstance(open_history("sqlite:/var/lib/trafficd/history.db"), SqliteHistory)
    assert isinstance(open_history("prometheus:http://localhost:9090"), PrometheusHistory)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("csv:days.csv", "enough for forecast, saturation and backtest only"),
        ("sqlite:", "has to be sqlite:FILE or prometheus:URL"),
        ("history.db", "has to be sqlite:FILE or prometheus:URL"),
        ("influx:http://h", "has to be sqlite:FILE or prometheus:URL"),
        ("prometheus:h:9090", "has to be an address like"),
    ],
)
def test_any_other_source_is_said(source: str, said: str) -> None:
    with pytest.raises(HistoryError, match=said):
        open_history(source)


def test_what_is_shown_is_read_at_once() -> None:
    access = Access(bearer_token_file=Path("/nowhere/token"))

    with pytest.raises(HistoryError, match="/nowhere/token: cannot be read"):
        open_history("prometheus:http://localhost:9090", access)

"""Opens the history of nodes that a command line names."""

from pathlib import Path

from trafficd.errors import HistoryError
from trafficd.planning.access import Access
from trafficd.planning.history import History
from trafficd.planning.sqlite_history import SqliteHistory

__all__ = ["Access", "open_history"]

_FORMS = "has to be sqlite:FILE or prometheus:URL"


def open_history(source: str, access: Access | None = None) -> History:
    """Return the history that *source* names; *access* is for what is asked over a network.

    Raises: HistoryError if there is no such kind, or a file of *access* cannot be read.
    """
    kind, _, place = source.partition(":")
    if kind == "sqlite" and place:
        return SqliteHistory(Path(place))
    if kind == "prometheus" and place:
        # Only then, as it takes longer to load than a file to read.
        from trafficd.planning.prometheus_history import PrometheusHistory

        return PrometheusHistory(place, access=access or Access())
    if kind == "csv":
        raise HistoryError(
            f"--history {source}: has series and no nodes, which is enough for forecast,"
            f" saturation and backtest only; here it {_FORMS}"
        )
    raise HistoryError(f"--history {source}: {_FORMS}")

"""Where a history comes from, as the command line names it."""

from datetime import date
from pathlib import Path
from typing import Protocol

from trafficd.errors import HistoryError
from trafficd.planning.csv_history import read_csv
from trafficd.planning.daily import DailySeries
from trafficd.planning.node_history import NodeDays, NodeWindows
from trafficd.planning.wording import some


class History(Protocol):
    """What nodes released, from whoever keeps it.

    Both methods raise HistoryError with a sentence for a person if it cannot be had.
    """

    def days(self, until: date) -> list[NodeDays]:
        """Return every node's days up to *until*, by name; that day is over."""
        ...

    def windows(self, since: int, until: int) -> list[NodeWindows]:
        """Return what every node moved in its windows after *since* and up to *until*, by name.

        Units: UTC seconds, multiples of a day or of the window.
        """
        ...


def read_series(source: str, *, names: list[str], as_of: date | None) -> list[DailySeries]:
    """Return the series of *source*, or those of them with *names*, as known on *as_of*.

    Raises: HistoryError if it cannot be read or does not know a name.
    """
    kind, _, place = source.partition(":")
    if kind != "csv" or not place:
        raise HistoryError(f"--history {source}: has to be csv:FILE")
    found = read_csv(Path(place))
    unknown = sorted(set(names) - {each.name for each in found})
    if unknown:
        known = some(each.name for each in found)
        raise HistoryError(f"--series {unknown[0]}: {place} has {known}")
    chosen = [each for each in found if not names or each.name in names]
    return chosen if as_of is None else [each.until(as_of) for each in chosen]

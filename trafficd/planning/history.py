"""Where a history comes from, as the command line names it."""

from datetime import date
from pathlib import Path

from trafficd.errors import HistoryError
from trafficd.planning.csv_history import read_csv
from trafficd.planning.daily import DailySeries


def read_history(source: str, *, names: list[str], as_of: date | None) -> list[DailySeries]:
    """Return the series of *source*, or those of them with *names*, as known on *as_of*.

    Raises: HistoryError if it cannot be read or does not know a name.
    """
    kind, _, place = source.partition(":")
    if kind != "csv" or not place:
        raise HistoryError(f"--history {source}: has to be csv:FILE")
    found = read_csv(Path(place))
    unknown = sorted(set(names) - {each.name for each in found})
    if unknown:
        known = ", ".join(each.name for each in found)
        raise HistoryError(f"--series {unknown[0]}: {place} has {known}")
    chosen = [each for each in found if not names or each.name in names]
    return chosen if as_of is None else [each.until(as_of) for each in chosen]

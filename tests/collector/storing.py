"""Messages to store, and a store's slow and obvious double."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from trafficd.collector.slices import Node, Slice
from trafficd.collector.store import Store
from trafficd.releases import Release, Totals
from trafficd.series import Series, is_counter, place, series_of

MIB = 1 << 20
HOUR = 3600
DAY = 24 * HOUR
# 00:00 UTC of some day.
MIDNIGHT = 20_000 * DAY

START = Series("trafficd_start_timestamp_seconds")
CAPACITY = Series("trafficd_uplink_capacity_bits_per_second")
UPLINK = Series("trafficd_uplink_receive_bytes_total")
TUNNEL = Series("trafficd_tunnel_transmit_bytes_total")
BUCKET = Series(
    "trafficd_uplink_utilisation_ratio_bucket", (("direction", "receive"), ("le", "0.05"))
)

Values = Mapping[Series, float]

_laid_out: dict[tuple[Series, ...], tuple[Series, ...]] = {}


def said(at: int, values: Values) -> Slice:
    """What a message says of a time, in schema order; those laid out alike share it, as always."""
    series = tuple(sorted(values, key=place))
    series = _laid_out.setdefault(series, series)
    return Slice(at, series, tuple(float(values[each]) for each in series))


def released(at: int, mib: int, *, start: int = MIDNIGHT - DAY, classes: int = 1) -> Slice:
    """A whole release of an exporter that has moved so many MiB on the uplink."""
    moved = Totals(mib * MIB, mib * MIB)
    names = [(f"class{number}", moved) for number in range(classes)]
    release = Release(at, start, 10**10, moved, moved, tuple(names))
    return said(at, dict(series_of(release)))


def made(path: Path, *names: str) -> Store:
    """A store with nodes of these names."""
    store = Store(path)
    for name in names or ("fra-1",):
        store.add_node(name, "fra", name.encode().ljust(32))
    return store


def numbers(store: Store) -> list[int]:
    return [known.node.number for known in store.nodes()]


def stored(
    store: Store, number: int, since: int = 0, until: int = 1 << 40
) -> dict[int, dict[Series, float]]:
    """Everything that the store has of a node, by time and series."""
    found: dict[int, dict[Series, float]] = {}
    for each in store.history(number, since, until):
        assert each.at not in found
        assert list(each.series) == sorted(set(each.series), key=place)
        found[each.at] = dict(zip(each.series, each.values, strict=True))
    assert list(found) == sorted(found)
    return found


def by_series(pairs: Iterable[tuple[Node, Slice]]) -> dict[int, dict[Series, float]]:
    return {node.number: dict(zip(each.series, each.values, strict=True)) for node, each in pairs}


def location_total(store: Store, series: Series) -> float:
    """What all nodes ever moved: the ends of the runs that are over, and where nodes stand."""
    latest = by_series(store.latest()).values()
    ended = [values for _, values in store.carried()]
    return sum(values.get(series, 0.0) for values in (*latest, *ended))


def execute(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Do something to a file behind the store's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


class SlowStore:
    """The history as a dictionary of dictionaries."""

    def __init__(self) -> None:
        self.values: defaultdict[int, dict[int, dict[Series, float]]] = defaultdict(dict)

    def append(self, number: int, slices: Iterable[Slice]) -> bool:
        """Store a message whole, unless it contradicts itself or what there is."""
        new: dict[tuple[int, Series], float] = {}
        for each in slices:
            for series, value in zip(each.series, each.values, strict=True):
                there = self.values[number].get(each.at, {}).get(series)
                if new.setdefault((each.at, series), value) != value or there not in (None, value):
                    return False
        for (at, series), value in new.items():
            self.values[number].setdefault(at, {})[series] = value
        return True

    def moved(self, number: int, since: int, until: int) -> dict[Series, int]:
        """Add up from release to release, with a run's beginning taken at 0."""
        times = sorted(at for at in self.values[number] if at <= until)
        earlier = [at for at in times if at <= since]
        last: dict[Series, float] = {}
        start: float | None = None
        knows_zero = False
        moved: dict[Series, int] = {}
        for at in (*earlier[-1:], *(at for at in times if at > since)):
            values = self.values[number][at]
            is_first = not last and start is None
            other = START in values and start is not None and values[START] != start
            less = any(values[each] < last[each] for each in last if each in values)
            if other or less:
                last, knows_zero = {}, True
            elif is_first and START in values:
                knows_zero = values[START] >= since
            start = values.get(START, start)
            for series in filter(is_counter, values):
                if series in last:
                    step = int(values[series]) - int(last[series])
                else:
                    step = int(values[series]) if knows_zero and at > since else 0
                moved[series] = moved.get(series, 0) + step
                last[series] = values[series]
        return moved

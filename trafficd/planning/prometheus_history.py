"""The history that Prometheus keeps, or another engine that answers PromQL."""

import asyncio
from collections.abc import Sequence
from datetime import date

import numpy as np

from trafficd.planning.access import Access
from trafficd.planning.day_table import DAY_SECONDS, TUNNEL, UPLINK, number_of
from trafficd.planning.grid import first_point, moved_in_windows
from trafficd.planning.node_history import NodeDays, NodeWindows, Pair
from trafficd.planning.promql import Promql
from trafficd.planning.promql_days import DayReading
from trafficd.planning.promql_releases import (
    RELEASED,
    STARTED,
    Node,
    Releases,
    Table,
    batches,
)
from trafficd.schema import MINIMUM_WINDOW_SECONDS

# Three years: a forecast rests on two of them.
MOST_DAYS = 1100
_TIMEOUT_SECONDS = 120.0
_METRICS = (*(each.name for each in UPLINK + TUNNEL), STARTED.name, RELEASED.name)


class PrometheusHistory:
    """The history of an engine at an address, of the last three years at the most."""

    def __init__(
        self,
        url: str,
        *,
        access: Access | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        most_days: int = MOST_DAYS,
    ) -> None:
        """Ask nothing yet.

        Raises: HistoryError if the address cannot be one, or a file of *access* cannot be read.
        """
        self._promql = Promql(url, access or Access(), timeout_seconds)
        self._most_days = most_days

    def days(self, until: date) -> list[NodeDays]:
        """Return every node's days up to *until*, by name; that day is over.

        Raises: HistoryError if they cannot be had.
        """
        return asyncio.run(self._days(number_of(until)))

    def windows(self, since: int, until: int) -> list[NodeWindows]:
        """Return what every node moved in its windows after *since* and up to *until*, by name.

        Raises: HistoryError if it cannot be had.
        """
        return asyncio.run(self._windows(since, until))

    async def _days(self, last: int) -> list[NodeDays]:
        async with self._promql as promql:
            releases, until = Releases(promql), (last + 1) * DAY_SECONDS
            nodes = await releases.nodes(until - self._most_days * DAY_SECONDS, until)
            newest = await releases.newest()
            found = []
            for window, names in batches(await releases.windows_of(nodes, until)):
                reading = DayReading(releases, window, [nodes[name] for name in names])
                found += await reading.days(last, newest)
        return sorted(found, key=lambda each: each.node)

    async def _windows(self, since: int, until: int) -> list[NodeWindows]:
        async with self._promql as promql:
            releases = Releases(promql)
            nodes = await releases.nodes(since, until)
            found = []
            for window, names in batches(await releases.windows_of(nodes, until)):
                first_at = first_point(since, window)
                points = range(first_at, max(first_at, until) + 1, window)
                tables = await _tables(releases, names, points, window)
                found += [
                    _node_windows(nodes[name], window, table)
                    for name, table in tables.items()
                    if any(at > since for at, _ in table.releases())
                ]
        return sorted(found, key=lambda each: each.node)


async def _tables(
    releases: Releases, names: Sequence[str], points: range, window: int
) -> dict[str, Table]:
    tables = await releases.at(_METRICS, names, points, window=window)
    # Where windows were shorter once, values from after a grid point are in force.
    again = [name for name, table in tables.items() if table.moves_on()]
    if again:
        tables |= await releases.at(_METRICS, again, points, window=MINIMUM_WINDOW_SECONDS)
    for name, table in tables.items():
        table.refuse_several(name)
    return tables


def _node_windows(node: Node, window: int, table: Table) -> NodeWindows:
    is_there = table.of(RELEASED) == np.array(table.points)
    totals, started_at = (
        np.where(is_there, np.array([table.of(each) for each in series]), np.nan)
        for series in (UPLINK + TUNNEL, (STARTED,))
    )
    receive, transmit, tunnel_receive, tunnel_transmit = moved_in_windows(totals, started_at[0])
    return NodeWindows(
        node.name,
        node.location,
        window,
        table.points[0],
        Pair(receive, transmit),
        Pair(tunnel_receive, tunnel_transmit),
    )

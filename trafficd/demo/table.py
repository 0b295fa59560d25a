"""The demo on a terminal: a live table."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trafficd.demo.observer import View
from trafficd.demo.truth import Truth
from trafficd.releases import Totals

_MIB = 1 << 20
_UNKNOWN = "-"
_LEGEND = (
    "What a node publishes moves at grid points only, in whole MiB. The truth is published"
    " nowhere; it is shown because these links are made up, and stand still for a moment at each"
    " grid point, so that the two can be compared."
)


class LiveTable:
    """Draws the same place of the terminal anew at each look."""

    def __init__(self, live: Live, window_seconds: int, speed: float) -> None:
        self._live = live
        self._window_seconds = window_seconds
        self._speed = speed
        self._headline = ""
        self._note = ""

    @classmethod
    @contextmanager
    def on_terminal(cls, *, window_seconds: int, speed: float) -> Iterator["LiveTable"]:
        """Return a table; what it showed last stays on the terminal."""
        # No refreshing by itself: that is a thread, and the demo has none.
        with Live(console=Console(), auto_refresh=False) as live:
            yield cls(live, window_seconds, speed)

    def begin(self, headline: str, views: Sequence[View]) -> None:
        """Show the empty table."""
        self._headline = headline
        self.show(None, views)

    def note(self, sentence: str, percent: int | None = None) -> None:
        """Have *sentence* stand under the headline from the next table on."""
        self._note = sentence if percent is None else f"{sentence}: {percent} %"

    def show(self, utc_seconds: float | None, views: Sequence[View]) -> None:
        """Draw the table anew."""
        parts: list[RenderableType] = [
            Text(self._headline, style="bold"),
            Text(f"{self._time(utc_seconds)}\n"),
            _table(views),
            Text(_LEGEND, style="dim"),
        ]
        if self._note:
            parts.insert(1, Text(self._note, style="bold"))
        self._live.update(Group(*parts), refresh=True)

    def _time(self, utc_seconds: float | None) -> str:
        if utc_seconds is None:
            return "starting ..."
        left = (self._window_seconds - utc_seconds % self._window_seconds) / self._speed
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(utc_seconds))
        return (
            f"{now}, {self._speed:.0f} times as fast; next release in {math.ceil(left)} s;"
            " Ctrl-C stops"
        )


def _table(views: Sequence[View]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("MiB")
    table.add_column("")
    for heading in ("uplink rx", "uplink tx", "tunnel rx", "tunnel tx"):
        table.add_column(heading, justify="right")
    for view in views:
        _add(table, view)
    return table


def _add(table: Table, view: View) -> None:
    then, published = "the first grid point", [_UNKNOWN] * 4
    if view.published is not None:
        # In line with the numbers below, which have two digits more.
        published = [
            f"{number // _MIB}   " for number in _four(view.published.uplink, view.published.tunnel)
        ]
        if view.published.at:
            then = time.strftime("%H:%M", time.gmtime(view.published.at))
    table.add_row(view.name, view.address, *published, style="bold")
    table.add_row("", f"truth at {then}", *_exact(view.then), style="dim")
    table.add_row("", f"truth now{_sessions(view.latest)}", *_exact(view.latest), style="dim")
    table.add_row()


def _exact(truth: Truth | None) -> list[str]:
    if truth is None:
        return [_UNKNOWN] * 4
    # Cut, not rounded: a number must not show more than there was.
    return [
        f"{number // _MIB}.{number % _MIB * 100 // _MIB:02}"
        for number in _four(truth.uplink, truth.tunnel)
    ]


def _sessions(truth: Truth | None) -> str:
    if truth is None:
        return ""
    return f", {truth.sessions_opened} sessions"


def _four(uplink: Totals, tunnel: Totals) -> tuple[int, int, int, int]:
    return uplink.rx_bytes, uplink.tx_bytes, tunnel.rx_bytes, tunnel.tx_bytes

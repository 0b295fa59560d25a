"""The demo without a terminal: a plain line for each node and window."""

import time
from collections.abc import Callable, Sequence

from trafficd.demo.observer import View
from trafficd.releases import Totals


class Lines:
    """Writes a line for each release: what was published and, in words of its own, the truth."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._shown: dict[str, int] = {}
        self._noted = ""

    def begin(self, headline: str, views: Sequence[View]) -> None:
        """Say what runs, and where to look."""
        self._write(headline)
        for view in views:
            self._write(f"node={view.name} metrics={view.address}")

    def note(self, sentence: str, _percent: int | None = None) -> None:
        """Write *sentence*, once."""
        if sentence != self._noted:
            self._noted = sentence
            self._write(sentence)

    def show(self, _utc_seconds: float, views: Sequence[View]) -> None:
        """Write the releases that were not written yet."""
        for view in views:
            at = 0 if view.published is None else view.published.at
            if at > self._shown.get(view.name, 0):
                self._shown[view.name] = at
                self._write(line(view))


def line(view: View) -> str:
    """Return one release as words: ``truth_`` before what no node publishes.

    Shape: where the truth of that instant is not known to the byte, there is none in the line.
    """
    if view.published is None:
        return f"node={view.name}"
    at = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(view.published.at))
    words = [f"release={at} node={view.name}"]
    words += _words("uplink", view.published.uplink)
    words += _words("tunnel", view.published.tunnel)
    if view.then is not None:
        words += _words("truth_uplink", view.then.uplink)
        words += _words("truth_tunnel", view.then.tunnel)
        words.append(f"sessions_opened={view.then.sessions_opened}")
        words.append(f"sessions_gone={view.then.sessions_opened - view.then.sessions_open}")
    return " ".join(words)


def _words(what: str, totals: Totals) -> list[str]:
    return [
        f"{what}_receive_bytes={totals.rx_bytes}",
        f"{what}_transmit_bytes={totals.tx_bytes}",
    ]

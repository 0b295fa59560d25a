"""What there is to see of a node: what it published, beside what is true."""

import socket
import time
from dataclasses import dataclass

from trafficd.demo.clock import FastClock
from trafficd.demo.node import HOST, WINDOW_SECONDS, Node
from trafficd.demo.page import Published, scrape
from trafficd.demo.truth import Truth, Witness

# After a grid point the release is looked for at every look, so long; otherwise this often.
_SELDOM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """What there is to show of a node.

    *then* is the truth of the published instant; None where it is not known to the byte.
    """

    name: str
    address: str
    published: Published | None
    then: Truth | None
    latest: Truth | None


class Observer:
    """Scrapes a node's page and listens to its traffic."""

    def __init__(self, node: Node, channel: socket.socket, clock: FastClock) -> None:
        self._node = node
        self._witness = Witness(channel)
        self._clock = clock
        self._path = node.settings.metrics.path
        self._published: Published | None = None
        self._then: Truth | None = None
        self._scrape_at = 0.0

    @property
    def view(self) -> View:
        """What there is to show at the moment."""
        address = f"http://{HOST}:{self._node.port}{self._path}"
        return View(self._node.name, address, self._published, self._then, self._witness.latest)

    def look(self) -> bool:
        """See what is published and what is true; True if there is a new release."""
        page = None
        if time.monotonic() >= self._scrape_at:
            page = scrape(HOST, self._node.port, self._path)
        # Behind the scrape: traffic that still stands then stood when the page was made.
        self._witness.look()
        if page is None:
            return False
        self._scrape_at = self._next_scrape(page)
        before, self._published = self._published, page
        if before is not None and page.at == before.at:
            return False
        latest = self._witness.latest
        self._then = latest if latest is not None and latest.still_at == page.at else None
        self._witness.saw(page.at)
        return before is not None

    def _next_scrape(self, page: Published) -> float:
        """Return when to scrape next: CLOCK_MONOTONIC, 0 for the next look."""
        into_window = self._clock.now().utc_seconds % WINDOW_SECONDS
        point = int(self._clock.now().utc_seconds - into_window)
        if page.at < point and self._clock.real(into_window) < _SELDOM_SECONDS:
            return 0.0
        to_next = self._clock.real(WINDOW_SECONDS - into_window)
        return time.monotonic() + min(_SELDOM_SECONDS, to_next)

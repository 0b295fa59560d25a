"""The rest of the fleet: nodes that are made up, and push at each grid point like any other."""

import http.client
import time
from collections.abc import Sequence

from trafficd.demo.clock import FastClock
from trafficd.demo.collector import Place
from trafficd.demo.fleet import Member, Span
from trafficd.demo.rhythm import DAY_SECONDS
from trafficd.schema import SLOT_SECONDS
from trafficd.wire.remote_write import HEADERS, Layout, Protocol, stored_block

_PROTOCOL = Protocol.V2
# After a grid point, as nodes are.
_LATER_SECONDS = 15.0
_PATIENCE_SECONDS = 5.0
# A collector that still loads the history, or is busy, is tried again after this.
_PAUSE_SECONDS = 0.5
# What is to come is made for so long at a time: three hours of the world's.
_AHEAD_SECONDS = 7 * DAY_SECONDS


def push_the_rest(place: Place, members: Sequence[Member], span: Span, clock: FastClock) -> None:
    """Push what *members* release after *span*, for ever; survives a collector that is away."""
    made = [_Made(place, member, span) for member in members]
    point = span.until
    while True:
        point += SLOT_SECONDS
        time.sleep(max(0.0, clock.real(point + _LATER_SECONDS - clock.now().utc_seconds)))
        for each in made:
            block = each.block(point)
            while not _is_done(place, each.token, block):
                time.sleep(_PAUSE_SECONDS)


class _Made:
    """One node."""

    def __init__(self, place: Place, member: Member, span: Span) -> None:
        from trafficd.demo.past import series

        self.token = place.token_file(member.name).read_text()
        self._member = member
        self._span = span
        self._layout = Layout(member.name, member.location, series(member), _PROTOCOL)
        self._until = span.until
        self._blocks: dict[int, list[float]] = {}

    def block(self, point: int) -> bytes:
        """Return what it pushes at *point*."""
        if point > self._until:
            self._make(point)
        return stored_block(self._layout.pack(point, self._blocks.pop(point)))

    def _make(self, point: int) -> None:
        from trafficd.demo.past import Past

        self._until = point + _AHEAD_SECONDS
        past = Past(self._member, self._span, self._until)
        times, rows = past.between(point, self._until + 1)
        self._blocks = dict(zip(times, rows, strict=True))


def _is_done(place: Place, token: str, block: bytes) -> bool:
    """Push *block* once; True unless it should be tried again."""
    connection = http.client.HTTPConnection(place.host, place.port, timeout=_PATIENCE_SECONDS)
    headers = {**HEADERS[_PROTOCOL], "Authorization": f"Bearer {token}"}
    try:
        connection.request("POST", place.write_path, block, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return status < http.client.INTERNAL_SERVER_ERROR and status != http.client.TOO_MANY_REQUESTS

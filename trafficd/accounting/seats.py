"""Who contributed how much, until the next release.

A session that opens takes the fullest seat that nobody sits on, or a new one, and what it moves is
added to its seat. So a client that reconnects ten times is one contributor, and k filled seats mean
k sessions that were open at the same time. At a release all seats are emptied, and what a closed
session left behind is gone; sessions still open keep theirs.

Seats are columns of numbers: nothing of a session is kept but the bytes on its seat.
"""

import heapq
from array import array
from collections.abc import Collection, Sequence

from trafficd.accounting.state import SeatsState

Seat = int


class Seats:
    """The seats of one group."""

    __slots__ = ("_emptied", "_left", "rx_bytes", "tx_bytes")

    def __init__(self) -> None:
        self.rx_bytes: list[int] = []
        self.tx_bytes: list[int] = []
        # Seats with bytes that nobody sits on, as a heap, the fullest first; and those without.
        self._left: list[tuple[int, int, Seat]] = []
        self._emptied: list[Seat] = []

    def restore(self, state: SeatsState, taken: Collection[Seat]) -> None:
        """Have the seats of *state*, of which sessions sit on those in *taken*."""
        self.rx_bytes = array("Q", state.rx_bytes).tolist()
        self.tx_bytes = array("Q", state.tx_bytes).tolist()
        for seat in range(len(self.rx_bytes)):
            if seat not in taken:
                self.leave(seat)

    def state(self) -> SeatsState:
        """Return what is on the seats; who sits is known to the links."""
        return SeatsState(array("Q", self.rx_bytes).tobytes(), array("Q", self.tx_bytes).tobytes())

    def take(self) -> Seat:
        """Return the seat of a session that opens.

        Of equally full ones the one that received more, so that the choice depends on bytes alone.
        """
        if self._left:
            return heapq.heappop(self._left)[2]
        if self._emptied:
            return self._emptied.pop()
        self.rx_bytes.append(0)
        self.tx_bytes.append(0)
        return len(self.rx_bytes) - 1

    def add(self, seat: Seat, rx_bytes: int, tx_bytes: int) -> None:
        """Add what the session on *seat* moved."""
        self.rx_bytes[seat] += rx_bytes
        self.tx_bytes[seat] += tx_bytes

    def leave(self, seat: Seat) -> None:
        """Leave *seat*, with its bytes on it."""
        rx_bytes, tx_bytes = self.rx_bytes[seat], self.tx_bytes[seat]
        if rx_bytes or tx_bytes:
            heapq.heappush(self._left, (-rx_bytes - tx_bytes, -rx_bytes, seat))
        else:
            self._emptied.append(seat)

    def empty(self) -> None:
        """Take the bytes off every seat; those who sit stay."""
        self._emptied.extend(seat for _, _, seat in self._left)
        self._left.clear()
        for column in (self.rx_bytes, self.tx_bytes):
            column[:] = [0] * len(column)

    def with_at_least(self, least_bytes: int) -> int:
        """Return how many seats hold *least_bytes* or more, both directions together."""
        both = zip(self.rx_bytes, self.tx_bytes, strict=True)
        return sum(rx_bytes + tx_bytes >= least_bytes for rx_bytes, tx_bytes in both)


def two_fullest(column: Sequence[int]) -> tuple[int, int]:
    """Return the two largest numbers of *column*, 0 where there are fewer."""
    first, second, *_ = (*heapq.nlargest(2, column), 0, 0)
    return first, second

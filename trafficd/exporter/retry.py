"""When a release that was not taken is tried again."""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

# Chosen: soon enough that nobody sees a collector's restart.
_FIRST_SECONDS = 1.0
# Chosen: a collector that is back hears of every node within minutes.
_LONGEST_SECONDS = 300.0
# Chosen: an answer, be it a mistake, silences a node for no longer than this.
_LONGEST_WISH_SECONDS = 3600.0
# What is wished for is wished of all nodes at once.
_WISH_SPREAD = 0.1

# A number from 0 to below 1, another each time.
Chance = Callable[[], float]


class Backoff:
    """Ever longer pauses, no two nodes' alike.

    A pause is drawn from the upper half of a length that doubles with each failure.
    """

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._failures = 0

    def forget(self) -> None:
        """Begin anew: something was taken."""
        self._failures = 0

    def pause_seconds(self, wish_seconds: float = 0.0) -> float:
        """Return how long to wait after one more failure.

        *wish_seconds* is what the destination asked for by Retry-After; it is never undercut.
        """
        length = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(self._failures, 32))
        self._failures += 1
        pause = length * (1 + self._chance()) / 2
        wish = min(wish_seconds, _LONGEST_WISH_SECONDS)
        return max(pause, wish * (1 + _WISH_SPREAD * self._chance()))


def wished_seconds(retry_after: str | None, date: str | None, now: float) -> float:
    """Return what a Retry-After header asks for; 0 if it says nothing that can be done.

    Where it names a moment, the answer's own *date* says what the time is there; else *now* does.
    Source: RFC 9110 section 10.2.3.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        # More digits than that are more than we wait, and would not be a float in the end.
        return float(text[:18])
    moment = _utc_seconds(text)
    if moment is None:
        return 0.0
    there = _utc_seconds(date or "")
    return max(0.0, moment - (now if there is None else there))


def _utc_seconds(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        # The oldest of the three forms names no zone, and means UTC (RFC 9110 section 5.6.7).
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None

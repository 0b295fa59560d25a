"""The log is an export: a fixed catalogue of sentences, and nothing else is ever written.

No sentence has room for a link's name, an address or a counter; what may be filled in is typed
below. Libraries' own loggers are silenced, because an error in a request would name the client.
"""

import contextlib
import logging
import os
import select
import time
from enum import StrEnum

from trafficd.units import ListenAddress

_STANDARD_ERROR = 2


class Message(StrEnum):
    """Every sentence the daemon can log."""

    READER_READY = "reader: counting; the first release is due at {instant}"
    NEW_RUN = "reader: no state of this boot to go on from; a new run of totals begins at 0"
    RESUMED = "reader: going on with the totals of the reader before"
    CONFIG_REFUSED = "reader: configuration refused, going on with the last good one"
    STATE_FULL = "reader: more links than the state has room for; a restart begins a new run"
    RENEWAL = "reader: the event socket carries another version's filter; it has to be renewed"
    READER_STOPPED = "reader: stopped"
    GAP = "reader: nobody held the event queue for a while before this start; links were read anew"
    OVERRUN = "reader: the event queue overran in the last window; links were read anew"
    MALFORMED = "reader: netlink messages that made no sense were skipped in the last window"
    RULES_REREAD = "reader: link rules reread"
    RULES_REFUSED = "reader: configuration refused, the old rules stay; see: trafficd check-config"
    RESTART_NEEDED = "reader: keys other than links changed; restart for them to take effect"
    EXPORTER_READY = "exporter: serving metrics on {address}"
    EXPORTER_STOPPED = "exporter: stopped"
    RELEASE_REFUSED = "exporter: a release held what is not configured or not rounded; not shown"
    WEB_CONFIG_FIXED = "exporter: web config not readable by sandbox.user; changes take a restart"
    WEB_CONFIG_REREAD = "exporter: web config reread"
    WEB_CONFIG_REFUSED = "exporter: web config refused, the old one stays"
    PUSH_REFUSED = "exporter: {destination} refused a release with {status}: {answer}"
    COLLECTOR_READY = "collector: taking releases on {address}"
    COLLECTOR_STOPPED = "collector: stopped"
    COLLECTOR_FULL = "collector: no room for releases; nodes keep them and try again"
    COLLECTOR_ROOM = "collector: there is room for releases again"
    COLLECTOR_WEB_CONFIG_REREAD = "collector: web config reread"
    COLLECTOR_WEB_CONFIG_REFUSED = "collector: web config refused, the old one stays"
    INTERNAL = "internal error in a callback; please report it"
    HALF_ENDED = "agent: the {half} ended; starting it again"
    HALF_FAILED = "agent: the {half} cannot work like this; ending the other half"


def start_logging() -> None:
    """Write the catalogue's sentences to standard error, and nobody else's."""
    handler = _NeverWaiting()
    own = logging.getLogger("trafficd")
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    own.propagate = False
    logging.lastResort = None
    logging.raiseExceptions = False


class _NeverWaiting(logging.Handler):
    """Writes to standard error if that can be done at once: a full pipe must not stop counting."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the sentence, or drop it."""
        with contextlib.suppress(OSError, ValueError):
            # A pipe that is writable has room for a line (PIPE_BUF, pipe(7)).
            if select.select([], [_STANDARD_ERROR], [], 0)[1]:
                os.write(_STANDARD_ERROR, f"{record.getMessage()}\n".encode())


def say(
    message: Message,
    *,
    instant: int | None = None,
    address: ListenAddress | None = None,
    half: str = "",
    destination: str = "",
    status: int = 0,
    answer: str = "",
) -> None:
    """Log *message*.

    Units: *instant* is a grid point, UTC seconds; *address*, *half* and *destination* are the
    operator's words. *status* and *answer* are what a destination said of a release: a line, cut
    short, of what can be printed (exporter/post.py).
    """
    at = "" if instant is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(instant))
    text = message.format(
        instant=at,
        address=address,
        half=half,
        destination=destination,
        status=status,
        answer=answer,
    )
    logging.getLogger("trafficd").info("%s", text)

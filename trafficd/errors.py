"""Every exception of trafficd and what its catcher does."""

from enum import StrEnum


class TrafficdError(Exception):
    """Something failed; the command prints the message as one line and exits with *exit_code*."""

    exit_code = 1


class ConfigError(TrafficdError):
    """The configuration has mistakes; the command prints them all and exits 78.

    At a reload the reader keeps the rules it has instead, and at a restart the last good ones.
    """

    exit_code = 78  # EX_CONFIG, sysexits.h

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class KernelRefusedError(TrafficdError):
    """The kernel answered a request with an error no retry can mend; the reader ends."""


class EventsOverrunError(TrafficdError):
    """The event queue overran; events are missing, so the catcher resynchronises by a dump."""


class HalfEndedError(TrafficdError):
    """The reader is gone; its exporter ends as well, to be started again with the next."""

    exit_code = 69  # EX_UNAVAILABLE


class MalformedFrameError(TrafficdError):
    """A frame between reader and exporter does not decode; the exporter ends rather than guess."""


class StateError(TrafficdError):
    """The state cannot be had, or is not for this version; the reader ends and leaves it alone."""


class RenewalNeededError(TrafficdError):
    """The event socket carries another version's filter for good; the process ends."""

    exit_code = 75  # EX_TEMPFAIL


class SocketsMissingError(TrafficdError):
    """A descriptor that the service manager should hand over is not there; the process ends."""


class SandboxError(TrafficdError):
    """A layer of the sandbox cannot be installed; the process ends, or never counts a byte."""


class ScheduleError(TrafficdError):
    """A line of a simulated schedule cannot be; the command names the line and exits 1."""


class UnknownSeriesError(TrafficdError):
    """A series that no release has; the message it came in is refused."""


class Refused(StrEnum):
    """Why a message is refused, as the collector counts it."""

    MALFORMED = "malformed"  # not a message of its protocol
    IDENTITY = "identity"  # another node's, or another location than the collector knows
    SERIES = "series"  # a metric, a label or a value of one that no release has
    VALUE = "value"  # not finite, or below zero
    TIME = "time"  # off the grid, or ahead of the clock
    CONFLICT = "conflict"  # another value for a time that has one


class MessageRefusedError(TrafficdError):
    """A pushed message that cannot be taken: nothing of it is stored, and its sender hears why."""

    def __init__(self, reason: str, kind: Refused) -> None:
        super().__init__(reason)
        self.kind = kind


class StoreError(TrafficdError):
    """The collector's file cannot be had, or is not for this version; the process ends."""


class StoreFullError(StoreError):
    """There is no room to store a release; the sender keeps it and tries again."""


class HistoryError(TrafficdError):
    """A history cannot be had, or makes no sense; the command says where and ends."""


class HistoryTooShortError(HistoryError):
    """A history does not carry what is asked of it; the answer is the reason instead."""

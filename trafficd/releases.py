"""Public nouns: what may leave a node."""

from dataclasses import dataclass, replace

from trafficd.schema import UTILISATION_PERCENTS

_NO_SLOTS = (0,) * (len(UTILISATION_PERCENTS) + 1)


@dataclass(frozen=True, slots=True)
class Totals:
    """Bytes moved since the run began; they only grow."""

    rx_bytes: int = 0
    tx_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Faults:
    """How often the reader could not see all that the kernel said, since the run began.

    *gaps* are times in which nobody held the queue of events.
    """

    overruns: int = 0
    malformed: int = 0
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How many slots the uplinks spent at which utilisation, since the run began.

    Shape: a count for each bound of schema.UTILISATION_PERCENTS and one for what is above them all;
    each slot is in one of them.
    """

    receive: tuple[int, ...] = _NO_SLOTS
    transmit: tuple[int, ...] = _NO_SLOTS


@dataclass(frozen=True, slots=True)
class Release:
    """One publication: cumulative totals as of a grid point.

    Units: *at* and *started_at* are UTC seconds on the grid; *at* is 0 before the first decision.
    Shape: *classes* holds every configured class, in the configuration's order.
    """

    at: int
    started_at: int
    capacity_bits_per_second: int
    uplink: Totals
    tunnel: Totals
    classes: tuple[tuple[str, Totals], ...]
    utilisation: Utilisation = Utilisation()
    faults: Faults = Faults()


def beginning_of(release: Release, window_seconds: int) -> Release | None:
    """Return the grid point before the first release of a run, when its totals were 0.

    Without it, whoever subtracts totals never counts what the first release holds; and where it
    holds more than the last one of the run before, nobody sees that the totals began anew.
    None if *release* cannot be the first: that comes a window after the start, or nearly two.
    """
    at = release.at - window_seconds
    if not 0 <= at - release.started_at <= window_seconds:
        return None
    return replace(
        release,
        at=at,
        uplink=Totals(),
        tunnel=Totals(),
        classes=tuple((name, Totals()) for name, _ in release.classes),
        utilisation=Utilisation(),
        faults=Faults(),
    )

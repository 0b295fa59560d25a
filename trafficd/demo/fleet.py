"""The nodes of the demo's fleet, and fleets of any size: what each moves, and what befell it."""

from collections.abc import Sequence
from dataclasses import dataclass

from trafficd.demo.rhythm import DAY_SECONDS
from trafficd.schema import ROUNDING_BYTES

MBIT = 1_000_000
GBIT = 1_000_000_000
# Of the nodes in the lab, and so of all of the demo's: what they move fills a good half of it.
CAPACITY_BITS_PER_SECOND = 2 * MBIT
_MIB = ROUNDING_BYTES
_SLOTS_OF_GBIT_BYTES = GBIT * 300 // 8


@dataclass(frozen=True, slots=True)
class Outage:
    """A node was away for so many hours, and began a new run after them; 0 is a reboot."""

    days_ago: int
    hour: int
    hours: int


@dataclass(frozen=True, slots=True)
class Member:
    """A node: what its uplink moves, now and before.

    Units: *level_bytes* are what a slot moves each way at present, on the mean of a week. *growth*
    is the natural logarithm of what a year makes of it. *busiest_hour* is of the UTC day.
    Shape: *per_session* is the share of ppp at present; the other class is wireguard. One that
    *came_days_ago* has no history before.
    """

    name: str
    location: str
    level_bytes: int
    growth: float
    capacity_bits_per_second: int = CAPACITY_BITS_PER_SECOND
    busiest_hour: int = 19
    per_session: float = 0.57
    came_days_ago: int | None = None
    outages: tuple[Outage, ...] = ()
    # How many sessions stay on it for a while, where real links move what it moves from now on.
    residents: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it is in the lab."""
        return bool(self.residents)


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a history is of.

    Units: *until* is UTC seconds on the grid. A release is an hour's, or *window_seconds*', and of
    the last *slot_days* a slot's.
    """

    until: int
    days: int = 730
    slot_days: int = 35
    window_seconds: int = 60 * 60

    @property
    def since(self) -> int:
        """When it begins: at 00:00 UTC."""
        return self.midnight(self.days)

    @property
    def slots_since(self) -> int:
        """From when on releases are a slot's."""
        return self.midnight(min(self.days, self.slot_days))

    def midnight(self, days_ago: int) -> int:
        """Return 00:00 UTC of the day so many days before the last one."""
        return (self.until // DAY_SECONDS - days_ago) * DAY_SECONDS


# The levels of those in the lab are what is measured there of their sessions, at the quietest hour.
FLEET: Sequence[Member] = (
    Member(
        "fra-1",
        "fra",
        35 * _MIB,
        0.46,
        per_session=0.59,
        residents=14,
        outages=(Outage(311, 3, 0),),
    ),
    Member(
        "ams-1",
        "ams",
        32 * _MIB,
        0.26,
        residents=12,
        outages=(Outage(203, 4, 7),),
    ),
    Member(
        "nyc-1",
        "nyc",
        29 * _MIB,
        -0.14,
        busiest_hour=1,
        residents=11,
        outages=(Outage(96, 8, 0),),
    ),
    Member("fra-2", "fra", 34 * _MIB, 0.44, outages=(Outage(19, 2, 0),)),
    Member("fra-3", "fra", 34 * _MIB, 0.48, outages=(Outage(480, 11, 5),)),
    Member("ams-2", "ams", 30 * _MIB, 0.28, outages=(Outage(61, 3, 0),)),
    Member("nyc-2", "nyc", 26 * _MIB, -0.18, busiest_hour=1),
    Member("sgp-1", "sgp", 31 * _MIB, 1.1, busiest_hour=13, came_days_ago=152),
)


def made_up(nodes: int, locations: int) -> list[Member]:
    """Return a fleet of so many nodes at so many locations, no two nodes alike."""
    digits = len(str(nodes))
    return [
        Member(
            f"node-{number + 1:0{digits}}",
            f"site-{number % locations + 1:0{len(str(locations))}}",
            # Between 25 and 60 percent of the capacity, on the mean.
            _SLOTS_OF_GBIT_BYTES * 10 * (25 + number * 17 % 36) // 100,
            -0.15 + (number % locations * 29 + number * 7) % 60 / 100,
            capacity_bits_per_second=10 * GBIT,
            busiest_hour=(18 + number % locations * 5) % 24,
            per_session=0.2 + number * 13 % 50 / 100,
        )
        for number in range(nodes)
    ]

"""Every metric name, label, allowed value and privacy floor, once.

What is not in this file does not leave a node. The exporter renders from it, and a test holds the
README to it.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

# ---- the floors: a configuration below them is refused, and no option lowers them ----

MINIMUM_WINDOW_SECONDS = 5 * 60
MAXIMUM_WINDOW_SECONDS = 24 * 60 * 60
FEWEST_SESSIONS = 5
# A seat counts as a contributor from here on, both directions together.
CONTRIBUTION_BYTES = 1 << 20
# The p% rule: what the two largest leave must be at least this part of the largest.
P_PERCENT = 20
# The dominance rule: the largest has at most this part of the whole.
LARGEST_PERCENT = 50
# Whole MiB: they also stay exact as the floats that Prometheus keeps, up to 2**73 bytes.
ROUNDING_BYTES = 1 << 20

# ---- the slots of transit billing, counted by the utilisation of the uplinks ----

SLOT_SECONDS = 5 * 60
# Upper bounds, in percent of the capacity; the last bucket, +Inf, has none.
UTILISATION_PERCENTS = (*range(5, 51, 5), *range(52, 101, 2))
# The same as Prometheus writes them in the label ``le``.
UTILISATION_BOUNDS = (*(str(percent / 100) for percent in UTILISATION_PERCENTS), "+Inf")
# The grid points at which the counts are published are multiples of this.
UTILISATION_PERIOD_SECONDS = 24 * 60 * 60

# ---- words an operator chooses and that leave the node ----

# Short and lower-case, so that neither an address nor a person's mail fits in.
WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}")
NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
# A frame has room for this many, used or not: its size tells nothing.
MOST_CLASSES = 32


class Kind(StrEnum):
    """How Prometheus treats a metric; the values are its TYPE words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Direction(StrEnum):
    """Which way the bytes of a slot went."""

    RECEIVE = "receive"
    TRANSMIT = "transmit"


class Fault(StrEnum):
    """What kept the reader from seeing all that the kernel said."""

    OVERRUN = "overrun"  # the event queue ran over; the links were read anew
    MALFORMED = "malformed"  # a netlink message did not decode and was skipped
    GAP = "gap"  # nobody held the event queue for a while; the links were read anew


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family; *name* is the family's, without what a scrape appends to it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def sample_name(self) -> str:
        """The name under which it is known: that of its samples, or a histogram's family."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


UPLINK_RECEIVE = Metric(
    "trafficd_uplink_receive_bytes", Kind.COUNTER, "Bytes received on the node's uplinks."
)
UPLINK_TRANSMIT = Metric(
    "trafficd_uplink_transmit_bytes", Kind.COUNTER, "Bytes sent on the node's uplinks."
)
TUNNEL_RECEIVE = Metric(
    "trafficd_tunnel_receive_bytes",
    Kind.COUNTER,
    "Bytes received on all tunnel links together, as clients sent them.",
)
TUNNEL_TRANSMIT = Metric(
    "trafficd_tunnel_transmit_bytes",
    Kind.COUNTER,
    "Bytes sent on all tunnel links together, towards clients.",
)
CLASS_RECEIVE = Metric(
    "trafficd_class_receive_bytes",
    Kind.COUNTER,
    "Bytes received on the tunnel links of a class.",
    ("class",),
)
CLASS_TRANSMIT = Metric(
    "trafficd_class_transmit_bytes",
    Kind.COUNTER,
    "Bytes sent on the tunnel links of a class.",
    ("class",),
)
UPLINK_UTILISATION = Metric(
    "trafficd_uplink_utilisation_ratio",
    Kind.HISTOGRAM,
    "5-minute slots by the mean rate of the uplinks in them, of the capacity; moves once a day.",
    ("direction", "le"),
)
UPLINK_CAPACITY = Metric(
    "trafficd_uplink_capacity_bits_per_second",
    Kind.GAUGE,
    "Capacity of the uplinks, from the configuration; 0 where it states none.",
)
RELEASE_TIMESTAMP = Metric(
    "trafficd_release_timestamp_seconds",
    Kind.GAUGE,
    "The grid point last decided; 0 before the first.",
)
START_TIMESTAMP = Metric(
    "trafficd_start_timestamp_seconds",
    Kind.GAUGE,
    "When this run of totals began, rounded down to the grid.",
)
READER_FAULTS = Metric(
    "trafficd_reader_faults",
    Kind.COUNTER,
    "Times the reader could not see all that the kernel said, as of the last grid point.",
    ("fault",),
)
BUILD_INFO = Metric("trafficd_build_info", Kind.GAUGE, "The running version.", ("version",))

METRICS = (
    UPLINK_RECEIVE,
    UPLINK_TRANSMIT,
    TUNNEL_RECEIVE,
    TUNNEL_TRANSMIT,
    CLASS_RECEIVE,
    CLASS_TRANSMIT,
    UPLINK_UTILISATION,
    UPLINK_CAPACITY,
    RELEASE_TIMESTAMP,
    START_TIMESTAMP,
    READER_FAULTS,
    BUILD_INFO,
)

# Of the exporter itself, a series for each destination that it pushes to; they move at grid points
# only, as all else on the page.
PUSH_SENT = Metric(
    "trafficd_push_sent_releases", Kind.COUNTER, "Releases a destination took.", ("destination",)
)
PUSH_FAILED = Metric(
    "trafficd_push_failed_tries",
    Kind.COUNTER,
    "Tries that came to nothing; the release is kept and tried again.",
    ("destination",),
)
PUSH_DROPPED = Metric(
    "trafficd_push_dropped_releases",
    Kind.COUNTER,
    "Releases a destination refused, or that became too old for it.",
    ("destination",),
)
PUSH_PENDING = Metric(
    "trafficd_push_pending_releases",
    Kind.GAUGE,
    "Releases before the one on this page that are still to be sent.",
    ("destination",),
)
PUSH_LAST_SUCCESS = Metric(
    "trafficd_push_last_success_timestamp_seconds",
    Kind.GAUGE,
    "When a destination last took a release, rounded down to the grid; 0 before the first.",
    ("destination",),
)

PUSH_METRICS = (PUSH_SENT, PUSH_FAILED, PUSH_DROPPED, PUSH_PENDING, PUSH_LAST_SUCCESS)

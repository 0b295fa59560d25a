"""Private nouns: what the kernel says of one link. They never leave the reader."""

from collections.abc import MutableSequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkIdentity:
    """All that a rule can match: a name, a type (ARPHRD number) and whether a bond owns it."""

    name: str
    link_type: int
    is_slave: bool


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """The kernel's byte counters of a link since it made the link."""

    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """RTM_NEWLINK: a link appeared, was renamed, or changed in some other way.

    *counters* is None where the message carries none.
    """

    ifindex: int
    identity: LinkIdentity
    counters: LinkCounters | None


@dataclass(frozen=True, slots=True)
class LinkRemoved:
    """RTM_DELLINK: a link is gone from the namespace; *counters* are its final ones."""

    ifindex: int
    identity: LinkIdentity
    counters: LinkCounters | None


LinkEvent = LinkChanged | LinkRemoved


@dataclass(frozen=True, slots=True)
class Sample:
    """One dump: the counters of the links of a namespace, as columns of equal length.

    Columns, because 10,000 links are read many times an hour and a noun for each would cost more
    than the kernel's own work.
    """

    ifindexes: MutableSequence[int]
    rx_bytes: MutableSequence[int]
    tx_bytes: MutableSequence[int]

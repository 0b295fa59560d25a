"""Private nouns: what the kernel says of one link. They never leave the reader."""

from collections.abc import MutableSequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkIdentity:
    """All that a rule can match: a name, a type (ARPHRD number) and whether a bond owns it.

    A name is bytes to the kernel. In the reader it is a view of the message that it came in, which
    is overwritten once the link is classified; a copy would stay in memory for who knows how long.
    """

    name: bytes | memoryview
    link_type: int
    is_slave: bool

    @property
    def shown_name(self) -> str:
        """The name for an operator's terminal."""
        return bytes(self.name).decode("utf-8", "backslashreplace")


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

    def wipe(self) -> None:
        """Forget which links it was of, once it has been applied."""
        for place in range(len(self.ifindexes)):
            self.ifindexes[place] = 0

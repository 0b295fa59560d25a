"""What an operator says of links: patterns and what they count as. No link is named here."""

from enum import StrEnum
from typing import Self

import msgspec

from trafficd.units import BitRate, Word

HOST_NAMESPACE = "host"

# ARPHRD numbers of linux/if_arp.h under the names that iproute2 prints behind "link/".
LINK_TYPES = {
    "ether": 1,
    "ppp": 512,
    "rawip": 519,
    "ipip": 768,
    "tunnel6": 769,
    "loopback": 772,
    "sit": 776,
    "gre": 778,
    "gre6": 823,
    "none": 65534,
}


class Role(StrEnum):
    """What a link is to the node."""

    UPLINK = "uplink"
    TUNNEL = "tunnel"
    IGNORED = "ignored"


class Population(StrEnum):
    """How many clients stand behind one link of a class."""

    PER_SESSION = "per-session"
    SHARED = "shared"


class LinkType(int):
    """A link type, by iproute2's name or by its ARPHRD number."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the ARPHRD number of *value*.

        Raises: ValueError if it is neither a known name nor a number.
        """
        if isinstance(value, str) and value in LINK_TYPES:
            return cls(LINK_TYPES[value])
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
            return cls(value)
        raise ValueError(f"write {', '.join(LINK_TYPES)} or an ARPHRD number")


class LinkRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: a link that matches all it states counts as what it says; first match wins."""

    name: str = "*"
    type: LinkType | None = None
    namespace: str | None = None
    slave: bool | None = None
    role: Role | None = None
    class_: Word | None = msgspec.field(name="class", default=None)
    population: Population | None = None
    capacity: BitRate | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises: ValueError with the mend.
        """
        if self.class_ is not None and self.role not in (None, Role.TUNNEL):
            raise ValueError(f"a class is a tunnel's; drop the class or role: {self.role}")
        if self.class_ is None and self.role is None:
            raise ValueError("needs a role (uplink, ignored) or a class")
        if self.class_ is None and self.role is Role.TUNNEL:
            raise ValueError("role: tunnel needs a class to count towards")
        if self.class_ is None and self.population is not None:
            raise ValueError("population describes a class; drop it or name the class")
        if self.capacity is not None and self.role is not Role.UPLINK:
            raise ValueError("capacity belongs to role: uplink")

    @property
    def counts_as(self) -> Role:
        """The role, which a class implies."""
        return Role.TUNNEL if self.class_ is not None else self.role or Role.IGNORED

    @property
    def clients(self) -> Population:
        """The population of the rule's class; the careful one where the rule does not say."""
        return self.population or Population.PER_SESSION


def _tunnel(name: str, class_name: str, population: Population) -> LinkRule:
    return LinkRule(name=name, class_=Word(class_name), population=population)


# What a usual VPN host has. A bond's slaves and VLANs carry the packets of the link above or below
# them once more, so that counting them would count a packet twice.
BUILT_IN_RULES = (
    LinkRule(slave=True, role=Role.IGNORED),
    LinkRule(name="eth*.*", role=Role.IGNORED),
    LinkRule(name="en*.*", role=Role.IGNORED),
    LinkRule(name="bond*.*", role=Role.IGNORED),
    LinkRule(name="eth*", role=Role.UPLINK),
    LinkRule(name="en*", role=Role.UPLINK),
    LinkRule(name="bond*", role=Role.UPLINK),
    _tunnel("wg*", "wireguard", Population.SHARED),
    _tunnel("tun*", "openvpn", Population.SHARED),
    _tunnel("tap*", "openvpn", Population.SHARED),
    _tunnel("ppp*", "ppp", Population.PER_SESSION),
    _tunnel("l2tp*", "l2tp", Population.PER_SESSION),
    _tunnel("ipsec*", "ipsec", Population.SHARED),
    _tunnel("vpns*", "ocserv", Population.PER_SESSION),
    LinkRule(name="*", role=Role.IGNORED),
)

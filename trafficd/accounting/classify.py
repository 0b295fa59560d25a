"""Link rules: what a link counts towards."""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

from trafficd.links import LinkIdentity
from trafficd.rules import LinkRule, Population, Role


@dataclass(frozen=True, slots=True)
class Group:
    """What a link's bytes are added to: the uplinks, one class, or nothing that is published.

    *is_rated* is of uplinks whose rule states a capacity, which a utilisation is of.
    """

    role: Role
    class_name: str = ""
    population: Population = Population.SHARED
    is_rated: bool = False


IGNORED = Group(Role.IGNORED)


class Classifier:
    """The rules in force; the first that matches a link decides."""

    def __init__(self, rules: Iterable[LinkRule]) -> None:
        self._rules = [
            (re.compile(fnmatch.translate(rule.name).encode()).match, rule, _group(rule))
            for rule in rules
        ]

    def group(self, namespace: str, link: LinkIdentity) -> Group:
        """Return what *link* counts towards; a link that no rule names counts towards nothing."""
        return self.decide(namespace, link)[1]

    def decide(self, namespace: str, link: LinkIdentity) -> tuple[LinkRule | None, Group]:
        """Return the first rule that matches *link*, if one does, and what it counts towards."""
        for matches, rule, group in self._rules:
            if (
                rule.slave in (None, link.is_slave)
                and rule.type in (None, link.link_type)
                and rule.namespace in (None, namespace)
                and matches(link.name)
            ):
                return rule, group
        return None, IGNORED


def _group(rule: LinkRule) -> Group:
    if rule.class_ is not None:
        return Group(Role.TUNNEL, rule.class_, rule.clients)
    if rule.counts_as is Role.IGNORED:
        return IGNORED
    return Group(Role.UPLINK, is_rated=rule.capacity is not None)

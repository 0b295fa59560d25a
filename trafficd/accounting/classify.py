"""Link rules: what a link counts towards."""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

from trafficd.links import LinkIdentity
from trafficd.rules import LinkRule, Population, Role


@dataclass(frozen=True, slots=True)
class Group:
    """What a link's bytes are added to: the uplinks, one class, or nothing that is published."""

    role: Role
    class_name: str = ""
    population: Population = Population.SHARED


IGNORED = Group(Role.IGNORED)


class Classifier:
    """The rules in force; the first that matches a link decides."""

    def __init__(self, rules: Iterable[LinkRule]) -> None:
        self._rules = [(re.compile(fnmatch.translate(rule.name)), rule) for rule in rules]

    def group(self, namespace: str, link: LinkIdentity) -> Group:
        """Return what *link* counts towards; a link that no rule names counts towards nothing."""
        rule = self.rule(namespace, link)
        if rule is None or rule.counts_as is Role.IGNORED:
            return IGNORED
        if rule.class_ is None:
            return Group(Role.UPLINK)
        return Group(Role.TUNNEL, rule.class_, rule.clients)

    def rule(self, namespace: str, link: LinkIdentity) -> LinkRule | None:
        """Return the first rule that matches *link*."""
        for pattern, rule in self._rules:
            if (
                pattern.match(link.name)
                and rule.type in (None, link.link_type)
                and rule.namespace in (None, namespace)
                and rule.slave in (None, link.is_slave)
            ):
                return rule
        return None

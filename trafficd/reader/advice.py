"""How the rules see the links of a machine, and what in them an operator should look at."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trafficd.accounting.classify import Classifier, Group
from trafficd.config import AgentSettings
from trafficd.kernel.inventory import FoundLink
from trafficd.reader.app import SAMPLE_SECONDS
from trafficd.rules import LINK_TYPES, LinkRule, Population, Role

# A shared link carries many clients, so a class has one or a few; more look like one a client.
_MOST_SHARED_LINKS = 8
# A host with thousands of links is told of the first few.
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class SeenLink:
    """A link, what it counts towards, and the rule that says so (None if no rule names it)."""

    link: FoundLink
    group: Group
    rule: LinkRule | None
    why: str


def see(settings: AgentSettings, links: Sequence[FoundLink]) -> list[SeenLink]:
    """Return *links* as the rules of *settings* see them."""
    classifier = Classifier(settings.links)
    return [_seen(settings, classifier, link) for link in links]


def warnings(seen: Sequence[SeenLink]) -> Iterator[str]:
    """Yield what will make a total wrong, or hold a release back, in words."""
    yield from _counted_twice(seen)
    yield from _doubtful_populations(seen)
    yield from _counted_from_dumps(seen)
    without = [
        each
        for each in seen
        if each.group.role is Role.UPLINK and each.rule and each.rule.capacity is None
    ]
    if without:
        yield f"{_names(without)}: an uplink without a capacity: its utilisation stays unknown"
    if not any(each.group.role is Role.UPLINK for each in seen):
        yield "no link counts as uplink: what the node pays for is not counted"
    unnamed = [
        each
        for each in seen
        if each.rule is None and each.link.identity.link_type != LINK_TYPES["loopback"]
    ]
    if unnamed:
        yield f"{_names(unnamed)}: no rule names it: it is ignored; say so, or count it"


def _seen(settings: AgentSettings, classifier: Classifier, link: FoundLink) -> SeenLink:
    rule, group = classifier.decide(link.namespace, link.identity)
    why = "no rule" if rule is None else _why(settings.links.index(rule) + 1, rule)
    return SeenLink(link, group, rule, why)


def _why(number: int, rule: LinkRule) -> str:
    names = {number: name for name, number in LINK_TYPES.items()}
    parts = [f"name {rule.name}"]
    if rule.type is not None:
        parts.append(f"type {names.get(rule.type, rule.type)}")
    if rule.namespace is not None:
        parts.append(f"namespace {rule.namespace}")
    if rule.slave is not None:
        parts.append("a bond's slave" if rule.slave else "not a bond's slave")
    return f"rule {number}: {', '.join(parts)}"


def _counted_twice(seen: Sequence[SeenLink]) -> Iterator[str]:
    """Yield the pairs through which one packet is counted twice in the same role."""
    by_place = {(each.link.namespace, each.link.ifindex): each for each in seen}
    for each in seen:
        if each.group.role is Role.IGNORED:
            continue
        for relation, ifindex in (
            ("its master", each.link.master),
            ("its lower device", each.link.lower),
            ("its other end", each.link.peer if each.link.peer > each.link.ifindex else 0),
        ):
            other = by_place.get((each.link.namespace, ifindex))
            if other and other.group.role is each.group.role:
                yield (
                    f"{_name(each)}: counted as {each.group.role} together with {relation}"
                    f" {_name(other)}: every packet counts twice; ignore one of them"
                )


def _doubtful_populations(seen: Sequence[SeenLink]) -> Iterator[str]:
    by_class: dict[Group, list[SeenLink]] = defaultdict(list)
    for each in seen:
        if each.group.role is Role.TUNNEL:
            by_class[each.group].append(each)
    for group, members in by_class.items():
        has_ppp = any(each.link.identity.link_type == LINK_TYPES["ppp"] for each in members)
        if group.population is Population.SHARED and (has_ppp or len(members) > _MOST_SHARED_LINKS):
            reason = "a ppp link is one client" if has_ppp else f"it has {len(members)} links"
            yield (
                f"class {group.class_name}: declared shared, but {reason}: this looks like"
                " population: per-session, and without it nobody counts the contributors"
            )
        wireguards = [each for each in members if each.link.kind == "wireguard"]
        if group.population is Population.PER_SESSION and wireguards:
            yield (
                f"class {group.class_name}: declared per-session, but {_name(wireguards[0])} is a"
                " WireGuard link, which many clients share: declare population: shared"
            )


def _counted_from_dumps(seen: Sequence[SeenLink]) -> Iterator[str]:
    """Yield the tunnel links whose end the reader is not told; an uplink ends with its host."""
    by_secret: dict[str, list[SeenLink]] = defaultdict(list)
    for each in seen:
        if each.group.role is Role.TUNNEL and each.link.secret:
            by_secret[each.link.secret].append(each)
    for secret, members in by_secret.items():
        yield (
            f"{_names(members)}: {secret}: counted from dumps only; what it moves between the last"
            f" dump and its end, at most {SAMPLE_SECONDS:.0f} s, is not counted"
        )


def _names(links: Sequence[SeenLink]) -> str:
    shown = ", ".join(_name(each) for each in links[:_MOST_NAMES])
    more = len(links) - _MOST_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown


def _name(each: SeenLink) -> str:
    return f"{each.link.identity.shown_name} ({each.link.namespace})"

"""The release rule over a change of the link rules, as on SIGHUP: seats, pools and classes."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.accounting.oracle import Expected, Oracle
from tests.accounting.plans import Plan, plans, play
from tests.accounting.recordings import ALPHA, BETA, HOUR, MIB, MIDNIGHT, Recording, configured
from trafficd.accounting.classify import IGNORED, Classifier, Group
from trafficd.accounting.ledger import Ledger
from trafficd.accounting.release import Decision, Publisher
from trafficd.accounting.table import LinkTable
from trafficd.config import AgentSettings, parse_config
from trafficd.kernel.recorded import RecordedEvent
from trafficd.links import LinkChanged, LinkCounters, LinkIdentity, LinkRemoved, Sample
from trafficd.releases import Faults, Release, Utilisation
from trafficd.rules import Population, Role

OTHER_RULES = (
    # Beta is gone, its links ignored.
    """
    - {name: "up*", role: uplink, capacity: 1Mbit}
    - {name: "alpha*", class: alpha}
    - {name: "wg*", class: wg, population: shared}
    """,
    # Beta's links are alpha's now, and the other way round.
    """
    - {name: "up*", role: uplink}
    - {name: "alpha*", class: beta}
    - {name: "beta*", class: alpha}
    """,
    # Nobody counts alpha's clients any more, and every wg link is one.
    """
    - {name: "alpha*", class: alpha, population: shared}
    - {name: "beta*", class: beta}
    - {name: "wg*", class: wg}
    """,
    # New names for all, and a tunnel that turns out to be an uplink.
    """
    - {name: "wg*", role: uplink}
    - {name: "alpha*", class: one}
    - {name: "beta*", class: one}
    - {name: "up*", class: two}
    """,
)


def other_settings(rules: str, k: int) -> AgentSettings:
    return parse_config(f"release: {{min_sessions: {k}}}\nlinks:{rules}")


class Node:
    """A reader's accounting, on a recording's time, with rules that can be read again."""

    def __init__(self, configuration: AgentSettings, started_at: int) -> None:
        self.ledger = Ledger()
        self.table: LinkTable = self.ledger.open_table()
        self.classifier = Classifier(configuration.links)
        self.identities: dict[int, LinkIdentity] = {}
        self.publisher = Publisher(
            classes=configuration.classes,
            capacity_bits_per_second=configuration.capacity_bits_per_second,
            started_at=started_at,
            min_sessions=configuration.release.min_sessions,
        )

    def apply(self, event: RecordedEvent) -> None:
        match event.said:
            case LinkChanged(ifindex, identity, counters):
                self.identities[ifindex] = identity
                self.table.change(ifindex, self.classifier.group("host", identity), counters)
            case LinkRemoved(ifindex, identity, counters):
                del self.identities[ifindex]
                self.table.remove(ifindex, self.classifier.group("host", identity), counters)
            case sample:
                self.table.apply(sample)

    def reread(self, configuration: AgentSettings) -> None:
        self.publisher.reconfigure(
            classes=configuration.classes,
            capacity_bits_per_second=configuration.capacity_bits_per_second,
        )
        self.classifier = Classifier(configuration.links)
        for ifindex, identity in self.identities.items():
            self.table.change(ifindex, self.classifier.group("host", identity), None)

    def decide(self, at: int) -> Decision:
        return self.publisher.decide(at, self.ledger, utilisation=Utilisation(), faults=Faults())


@settings(max_examples=120)
@given(
    st.lists(st.tuples(plans, st.sampled_from(OTHER_RULES)), min_size=1, max_size=3),
    plans,
    st.sampled_from((5, 6)),
)
def test_what_is_released_over_changes_of_the_rules_is_what_the_oracle_says(
    episodes: list[tuple[Plan, str]], last: Plan, k: int
) -> None:
    recording = Recording(configured(k=k))
    started_at = MIDNIGHT + 8 * HOUR
    node, oracle = Node(recording.settings, started_at), Oracle(recording.settings, started_at)
    decided: list[tuple[bool, bool, Release]] = []
    expected: list[tuple[bool, bool, Release]] = []
    point = started_at + HOUR

    def catch_up() -> None:
        nonlocal point
        for event in recording.events:
            while point < event.at:
                decide()
            node.apply(event)
            oracle.apply(event)
        recording.events.clear()

    def decide() -> None:
        nonlocal point
        product, rule = node.decide(point), oracle.decide(point)
        decided.append((product.releases_node, product.releases_classes, product.release))
        expected.append(without_utilisation(rule))
        point += HOUR

    for plan, rules in episodes:
        play(plan, recording)
        catch_up()
        other = other_settings(rules, k)
        node.reread(other)
        oracle.reread(other)
    play(last, recording)
    catch_up()
    decide()

    assert decided == expected


def without_utilisation(expected: Expected) -> tuple[bool, bool, Release]:
    release = dataclasses.replace(expected.release, utilisation=Utilisation())
    return expected.node_passes, expected.classes_pass, release


# ---- examples: ten sessions of alpha, links 1 to 10, and one of beta, link 11 ----

SESSIONS = {name: Group(Role.TUNNEL, name, Population.PER_SESSION) for name in (ALPHA, BETA)}


class Two:
    """A node with alpha's crowd and beta's one session, which moved 20 MiB."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.table = self.ledger.open_table()
        self.publisher = Publisher(
            classes=(ALPHA, BETA), capacity_bits_per_second=0, started_at=0, min_sessions=5
        )
        self.counters = dict.fromkeys(range(1, 12), 0)
        for ifindex in self.counters:
            self.table.change(ifindex, SESSIONS[BETA if ifindex == 11 else ALPHA], NOTHING)
        self.move_alpha()
        self.move(11, 20)

    def move_alpha(self) -> None:
        for ifindex in range(1, 11):
            self.move(ifindex, 10)

    def move(self, ifindex: int, mib: int) -> None:
        self.counters[ifindex] += mib * MIB
        self.table.apply(Sample([ifindex], [self.counters[ifindex]], [0]))

    def reconfigure(self, *classes: str) -> None:
        self.publisher.reconfigure(classes=classes, capacity_bits_per_second=0)

    def release(self) -> tuple[int, dict[str, int]]:
        """Return what is published, received MiB: of the tunnels and of each class."""
        decision = self.publisher.decide(
            self.publisher.latest.at + HOUR,
            self.ledger,
            utilisation=Utilisation(),
            faults=Faults(),
        )
        release = decision.release
        classes = {name: totals.rx_bytes // MIB for name, totals in release.classes}
        return release.tunnel.rx_bytes // MIB, classes


NOTHING = LinkCounters(0, 0)


def test_a_class_taken_from_the_rules_is_not_told_by_those_that_are_left() -> None:
    node = Two()
    before = node.release()

    node.reconfigure(ALPHA)
    node.table.change(11, IGNORED, None)
    node.move_alpha()
    node.move(11, 500)
    after = node.release()

    # 220 less alpha's 200 would be what one session of beta moved.
    assert before == (120, {ALPHA: 0, BETA: 0})
    assert after == (220, {ALPHA: 0})


def test_a_class_that_comes_back_is_published_with_all_that_it_moved() -> None:
    node = Two()
    node.release()
    node.reconfigure(ALPHA)
    node.table.change(11, IGNORED, None)
    node.release()

    node.reconfigure(ALPHA, BETA)
    for ifindex in range(11, 17):
        node.counters.setdefault(ifindex, 0)
        node.table.change(ifindex, SESSIONS[BETA], LinkCounters(node.counters[ifindex], 0))
        node.move(ifindex, 20)

    # The one of before sits on its seat again: 40 of 140.
    assert node.release() == (240, {ALPHA: 100, BETA: 140})


def test_a_class_taken_from_the_rules_when_it_was_published_holds_nothing() -> None:
    node = Two()
    for ifindex in range(12, 17):
        node.counters[ifindex] = 0
        node.table.change(ifindex, SESSIONS[BETA], NOTHING)
        node.move(ifindex, 20)
    assert node.release() == (220, {ALPHA: 100, BETA: 120})

    node.reconfigure(ALPHA)
    for ifindex in range(11, 17):
        node.table.change(ifindex, IGNORED, None)
    node.move_alpha()

    assert node.release() == (320, {ALPHA: 200})


def test_a_session_whose_class_is_renamed_is_still_one_contributor_of_the_node() -> None:
    node = Two()
    node.move(11, 40)
    renamed = Group(Role.TUNNEL, "gamma", Population.PER_SESSION)

    node.reconfigure(ALPHA, "gamma")
    node.table.change(11, renamed, None)
    node.move(11, 60)

    # 60 and 60 of 220: two would pass, one has more than half.
    assert node.release() == (0, {ALPHA: 0, "gamma": 0})


def test_a_class_that_becomes_shared_excuses_only_for_what_it_moves_as_such() -> None:
    node = Two()
    node.reconfigure(ALPHA, BETA)
    node.table.change(11, Group(Role.TUNNEL, BETA, Population.SHARED), None)
    held = node.release()

    node.move(11, 20)

    # What the session moved lies on its seat still, and is half of beta's pool.
    assert held == (120, {ALPHA: 0, BETA: 0})
    assert node.release() == (140, {ALPHA: 100, BETA: 40})

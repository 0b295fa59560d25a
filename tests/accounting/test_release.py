"""What is published: cumulative, rounded down, never less than before."""

from trafficd.accounting.classify import Group
from trafficd.accounting.ledger import Ledger
from trafficd.accounting.release import Publisher
from trafficd.links import LinkCounters, Sample
from trafficd.releases import Faults, Release, Totals, Utilisation
from trafficd.rules import Role

MIB = 1024 * 1024
NO_FAULTS = Faults()


def publisher(*classes: str) -> Publisher:
    return Publisher(
        classes=classes, capacity_bits_per_second=10**10, started_at=3600, min_sessions=10
    )


def decide(publisher: Publisher, at: int, ledger: Ledger, faults: Faults = NO_FAULTS) -> Release:
    return publisher.decide(at, ledger, utilisation=Utilisation(), faults=faults).release


def test_before_the_first_decision_everything_is_zero_and_there() -> None:
    release = publisher("l2tp", "wireguard").latest

    assert release.at == 0
    assert release.uplink == release.tunnel == Totals()
    assert release.classes == (("l2tp", Totals()), ("wireguard", Totals()))


def test_totals_are_rounded_down_and_the_rest_comes_later() -> None:
    ledger, published = Ledger(), publisher("l2tp")
    table = ledger.open_table()
    table.change(5, Group(Role.TUNNEL, "l2tp"), LinkCounters(0, 0))

    table.apply(Sample([5], [2 * MIB - 1], [MIB]))
    first = decide(published, 7200, ledger)
    table.apply(Sample([5], [2 * MIB], [MIB]))
    second = decide(published, 10800, ledger, Faults(overruns=1))

    assert (first.at, first.tunnel, first.classes) == (
        7200, Totals(MIB, MIB), (("l2tp", Totals(MIB, MIB)),),
    )  # fmt: skip
    assert (second.tunnel, second.faults) == (Totals(2 * MIB, MIB), Faults(overruns=1))


def test_a_class_that_is_no_longer_configured_stays_in_the_tunnel_total() -> None:
    ledger, published = Ledger(), publisher("l2tp", "ocserv")
    table = ledger.open_table()
    for ifindex, name in ((5, "l2tp"), (6, "ocserv")):
        table.change(ifindex, Group(Role.TUNNEL, name), LinkCounters(0, 0))
    table.apply(Sample([5, 6], [MIB, 3 * MIB], [0, 0]))

    published.reconfigure(classes=("ocserv",), capacity_bits_per_second=5)
    release = decide(published, 7200, ledger)

    assert release.tunnel == Totals(4 * MIB, 0)
    assert release.classes == (("ocserv", Totals(3 * MIB, 0)),)
    assert release.capacity_bits_per_second == 5

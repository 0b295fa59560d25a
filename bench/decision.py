"""The decision at a grid point, with 10,000 sessions open and every one of them a contributor."""

import time
from statistics import median

from bench.laboratory import LINKS, Laboratory, UnsoundError
from bench.table import Row
from trafficd.accounting.classify import Group
from trafficd.accounting.ledger import Ledger
from trafficd.accounting.release import Publisher
from trafficd.links import LinkCounters, Sample
from trafficd.releases import Faults, Utilisation
from trafficd.rules import Population, Role

MOST_MS = 20.0
_ROUNDS = 21
_WINDOW_SECONDS = 3600
_EACH_BYTES = 3 << 20
_GROUP = Group(Role.TUNNEL, "ppp", Population.PER_SESSION)


def measure(_: Laboratory) -> list[Row]:
    """Return the row of a decision that both cells pass: the longest there is."""
    ledger = Ledger()
    table = ledger.open_table()
    for ifindex in range(1, LINKS + 1):
        table.change(ifindex, _GROUP, LinkCounters(0, 0))
    publisher = Publisher(
        classes=("ppp",), capacity_bits_per_second=0, started_at=0, min_sessions=10
    )
    taken = []
    for number in range(1, _ROUNDS + 1):
        # No two alike, so that nothing is shared between seats that is not in production.
        counters = [number * _EACH_BYTES + ifindex for ifindex in range(LINKS)]
        table.apply(Sample(list(range(1, LINKS + 1)), counters, counters))
        started = time.perf_counter()
        decision = publisher.decide(
            number * _WINDOW_SECONDS, ledger, utilisation=Utilisation(), faults=Faults()
        )
        taken.append((time.perf_counter() - started) * 1e3)
        if not decision.releases_classes or decision.node.contributors != LINKS:
            raise UnsoundError(f"held back: {decision.node.reason}")
    return [
        Row.held(
            f"decision at a grid point, {LINKS:,} open sessions",
            f"{median(taken):.1f} ms, {max(taken):.1f} ms at most",
            f"<= {MOST_MS:.0f} ms",
            is_held=median(taken) <= MOST_MS,
        )
    ]

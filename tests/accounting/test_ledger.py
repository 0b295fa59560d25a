"""The ledger against a model of the kernel that adds every byte up as it moves."""

from collections import defaultdict
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from trafficd.accounting.classify import Group
from trafficd.accounting.ledger import Ledger
from trafficd.accounting.table import LinkTable
from trafficd.links import LinkCounters, Sample
from trafficd.releases import Totals
from trafficd.rules import Role

UPLINK = Group(Role.UPLINK)
L2TP = Group(Role.TUNNEL, "l2tp")
OCSERV = Group(Role.TUNNEL, "ocserv")
GROUPS = (UPLINK, L2TP, OCSERV)


class ModelKernel:
    """Links, an event queue, and the truth: bytes by the group a link is in when they move."""

    def __init__(self) -> None:
        self.links: dict[int, list[int]] = {}
        self.groups: dict[int, Group] = {}
        self.queue: list[Callable[[LinkTable], int]] = []
        self.truth: dict[Group, list[int]] = defaultdict(lambda: [0, 0])

    def create(self, ifindex: int, group: Group, rx: int, tx: int) -> None:
        if ifindex not in self.links:
            self.links[ifindex] = [rx, tx]
            self.groups[ifindex] = group
            self._announce(ifindex)

    def move(self, ifindex: int, rx: int, tx: int) -> None:
        if ifindex in self.links:
            for direction, moved in enumerate((rx, tx)):
                self.links[ifindex][direction] += moved
                self.truth[self.groups[ifindex]][direction] += moved

    def rename(self, ifindex: int, group: Group) -> None:
        if ifindex in self.links:
            self.groups[ifindex] = group
            self._announce(ifindex)

    def remove(self, ifindex: int) -> None:
        if ifindex in self.links:
            counters, group = LinkCounters(*self.links.pop(ifindex)), self.groups.pop(ifindex)

            def gone(table: LinkTable) -> int:
                table.remove(ifindex, group, counters)
                return ifindex

            self.queue.append(gone)

    def dump(self) -> Sample:
        rows = [(ifindex, *counters) for ifindex, counters in self.links.items()]
        return Sample(*(list(column) for column in zip(*rows, strict=True))) if rows else EMPTY

    def _announce(self, ifindex: int) -> None:
        counters, group = LinkCounters(*self.links[ifindex]), self.groups[ifindex]

        def changed(table: LinkTable) -> int:
            table.change(ifindex, group, counters)
            return ifindex

        self.queue.append(changed)


EMPTY = Sample([], [], [])
Operation = Callable[[ModelKernel], None]

_ifindexes = st.integers(1, 4)
_bytes = st.integers(0, 2**40)
_groups = st.sampled_from(GROUPS)


def _create(args: tuple[int, Group, int, int]) -> Operation:
    return lambda kernel: kernel.create(*args)


def _move(args: tuple[int, int, int]) -> Operation:
    return lambda kernel: kernel.move(*args)


def _rename(args: tuple[int, Group]) -> Operation:
    return lambda kernel: kernel.rename(*args)


def _remove(ifindex: int) -> Operation:
    return lambda kernel: kernel.remove(ifindex)


_operations = st.lists(
    st.one_of(
        st.tuples(_ifindexes, _groups, _bytes, _bytes).map(_create),
        st.tuples(_ifindexes, _bytes, _bytes).map(_move),
        st.tuples(_ifindexes, _bytes, _bytes).map(_move),
        st.tuples(_ifindexes, _groups).map(_rename),
        _ifindexes.map(_remove),
    ),
    max_size=12,
)
# What happens before the dump, between its answer and the reading of the queue, and after.
_samples = st.lists(st.tuples(_operations, _operations), max_size=6)


def _drain(kernel: ModelKernel, table: LinkTable) -> set[int]:
    touched = {event(table) for event in kernel.queue}
    kernel.queue.clear()
    return touched


def _sample(kernel: ModelKernel, table: LinkTable, meanwhile: list[Operation]) -> None:
    _drain(kernel, table)
    dump = kernel.dump()
    for operation in meanwhile:
        operation(kernel)
    table.apply(dump, _drain(kernel, table))


def _totals(ledger: Ledger) -> dict[str, Totals]:
    return {
        "uplink": ledger.standing().total(Role.UPLINK),
        "l2tp": ledger.standing().total(Role.TUNNEL, "l2tp"),
        "ocserv": ledger.standing().total(Role.TUNNEL, "ocserv"),
    }


def _true_totals(kernel: ModelKernel) -> dict[str, Totals]:
    return {
        "uplink": Totals(*kernel.truth[UPLINK]),
        "l2tp": Totals(*kernel.truth[L2TP]),
        "ocserv": Totals(*kernel.truth[OCSERV]),
    }


@settings(max_examples=400, deadline=None)
@given(_samples, _operations)
def test_ledger_equals_the_bytes_moved_whatever_comes_between_events_and_dumps(
    samples: list[tuple[list[Operation], list[Operation]]], last: list[Operation]
) -> None:
    kernel, ledger = ModelKernel(), Ledger()
    table = ledger.open_table()

    for before, meanwhile in samples:
        for operation in before:
            operation(kernel)
        _sample(kernel, table, meanwhile)
    for operation in last:
        operation(kernel)
    _sample(kernel, table, [])

    assert _totals(ledger) == _true_totals(kernel)
    everything = _totals(ledger)["l2tp"], _totals(ledger)["ocserv"]
    assert ledger.standing().total(Role.TUNNEL) == Totals(
        sum(each.rx_bytes for each in everything), sum(each.tx_bytes for each in everything)
    )


@settings(max_examples=200, deadline=None)
@given(_operations, _operations, _operations)
def test_ledger_counts_from_the_first_dump_what_is_named_later(
    before: list[Operation], unnamed: list[Operation], after: list[Operation]
) -> None:
    kernel, ledger = ModelKernel(), Ledger()
    table = ledger.open_table()
    for operation in before:
        operation(kernel)
    kernel.queue.clear()
    kernel.truth.clear()

    table.resynchronise(kernel.dump())
    for operation in unnamed:
        # A link whose name changes before it is known was never seen under the first one.
        operation(kernel)
    _sample(kernel, table, [])
    for ifindex, group in list(kernel.groups.items()):
        table.change(ifindex, group, LinkCounters(*kernel.links[ifindex]))
    for operation in after:
        operation(kernel)
    _sample(kernel, table, [])

    standing = ledger.standing()
    counted = standing.total(Role.UPLINK).rx_bytes + standing.total(Role.TUNNEL).rx_bytes
    assert counted == sum(moved[0] for moved in kernel.truth.values())


def test_ledger_counts_a_reset_from_zero() -> None:
    ledger = Ledger()
    table = ledger.open_table()
    table.change(7, UPLINK, LinkCounters(0, 0))

    table.apply(Sample([7], [1000], [500]))
    table.apply(Sample([7], [300], [700]))

    assert ledger.standing().total(Role.UPLINK) == Totals(1000 + 300, 500 + 700)


def test_ledger_keeps_what_a_dismantled_link_no_longer_tells() -> None:
    ledger = Ledger()
    table = ledger.open_table()
    table.change(7, UPLINK, LinkCounters(0, 0))
    table.apply(Sample([7], [1000], [500]))

    table.change(7, UPLINK, LinkCounters(0, 500))
    table.remove(7, UPLINK, LinkCounters(0, 800))

    assert ledger.standing().total(Role.UPLINK) == Totals(1000, 800)


def test_dump_neither_introduces_nor_closes_a_link() -> None:
    ledger = Ledger()
    table = ledger.open_table()
    table.change(7, UPLINK, LinkCounters(0, 0))

    table.apply(Sample([8], [1000], [1000]))
    table.apply(Sample([8], [3000], [3000]))
    table.remove(7, UPLINK, LinkCounters(40, 2))

    assert ledger.standing().total(Role.UPLINK) == Totals(40, 2)


def test_resynchronisation_counts_known_links_on_and_starts_new_ones_where_they_are() -> None:
    ledger = Ledger()
    table = ledger.open_table()
    table.change(7, UPLINK, LinkCounters(0, 0))
    table.change(8, UPLINK, LinkCounters(0, 0))

    table.resynchronise(Sample([7, 9], [100, 5000], [10, 5000]))
    table.change(9, UPLINK, LinkCounters(5003, 5000))

    assert ledger.standing().total(Role.UPLINK) == Totals(100 + 3, 10)
    assert sorted(table.ifindexes) == [7, 9]


def test_resynchronisation_from_a_torn_dump_closes_nothing() -> None:
    ledger = Ledger()
    table = ledger.open_table()
    table.change(8, UPLINK, LinkCounters(0, 0))

    table.resynchronise(EMPTY, is_whole=False)
    table.remove(8, UPLINK, LinkCounters(5, 6))

    assert ledger.standing().total(Role.UPLINK) == Totals(5, 6)


def test_an_event_without_counters_moves_a_link_and_counts_nothing() -> None:
    ledger = Ledger()
    table = ledger.open_table()
    table.change(7, L2TP, LinkCounters(0, 0))

    table.change(7, OCSERV, None)
    table.apply(Sample([7], [11], [22]))
    table.remove(7, OCSERV, None)

    assert ledger.standing().total(Role.TUNNEL, "ocserv") == Totals(11, 22)
    assert ledger.standing().total(Role.TUNNEL, "l2tp") == Totals()
    assert table.ifindexes == []


def test_a_link_announced_without_counters_begins_with_the_dump_that_holds_it() -> None:
    ledger = Ledger()
    table = ledger.open_table()

    table.change(9, OCSERV, None)
    was_waiting = table.awaits_dump
    table.apply(Sample([9], [5], [6]), {9})
    table.apply(Sample([9], [11], [22]))
    table.apply(Sample([9], [111], [222]))
    table.remove(9, OCSERV, None)

    assert was_waiting
    assert not table.awaits_dump
    assert ledger.standing().total(Role.TUNNEL, "ocserv") == Totals(100, 200)


def test_a_link_announced_without_counters_may_be_gone_before_any_dump() -> None:
    ledger = Ledger()
    table = ledger.open_table()

    table.change(9, OCSERV, None)
    table.change(10, OCSERV, None)
    table.remove(9, OCSERV, None)
    table.resynchronise(Sample([], [], []))

    assert not table.awaits_dump
    assert table.ifindexes == []


def test_a_link_that_no_event_told_of_is_unknown_until_its_name_is() -> None:
    ledger = Ledger()
    table = ledger.open_table()
    table.change(7, OCSERV, LinkCounters(0, 0))

    unknown = table.apply(Sample([7, 8, 9], [0, 50, 60], [0, 0, 0]), {9}, is_whole=True)
    table.change(8, OCSERV, LinkCounters(55, 0))
    still = table.apply(Sample([7, 8], [0, 65], [0, 0]), is_whole=True)

    assert (unknown, still) == ([8], [])
    assert ledger.standing().total(Role.TUNNEL) == Totals(10, 0)


def test_a_link_is_closed_without_an_event_only_by_two_whole_dumps() -> None:
    ledger = Ledger()
    table = ledger.open_table()
    for ifindex in (7, 8):
        table.change(ifindex, OCSERV, LinkCounters(0, 0))
    present = Sample([7], [5], [0])

    found = []
    for sample, touched, is_whole in (
        (present, set(), True),
        (Sample([7, 8], [5, 5], [0, 0]), set(), True),
        (present, set(), True),
        (present, {8}, True),
        (present, set(), True),
        (present, set(), False),
    ):
        table.apply(sample, touched, is_whole=is_whole)
        found.append(table.ifindexes)
    table.apply(present, is_whole=True)

    assert found == [[7, 8]] * 6
    assert table.ifindexes == [7]
    assert ledger.standing().total(Role.TUNNEL) == Totals(10, 0)


def test_a_removal_that_comes_after_a_dump_without_the_link_still_has_its_final_counters() -> None:
    ledger = Ledger()
    table = ledger.open_table()
    table.change(7, OCSERV, LinkCounters(0, 0))

    table.apply(Sample([], [], []), is_whole=True)
    table.remove(7, OCSERV, LinkCounters(33, 0))

    assert ledger.standing().total(Role.TUNNEL) == Totals(33, 0)


def test_an_announced_link_that_a_whole_dump_does_not_hold_is_gone() -> None:
    table = Ledger().open_table()

    table.change(7, OCSERV, None)
    table.apply(Sample([], [], []), {7}, is_whole=True)
    waits = table.awaits_dump
    table.apply(Sample([], [], []), is_whole=True)

    assert (waits, table.awaits_dump) == (True, False)

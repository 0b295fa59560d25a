"""No withheld cell is a rational combination of anything published, before or after.

The unknowns are what each class and the uplinks moved between two grid points, a direction each.
Every published total is a sum of some of them. Rounding is left aside: it only hides more.
"""

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.accounting.plans import Plan, Step, do, plans, sessions
from tests.accounting.recordings import (
    ALPHA,
    BETA,
    CLASSES,
    MIB,
    UPLINK,
    WG,
    Link,
    Recording,
    configured,
    of,
)
from trafficd.releases import Release, Totals

RX, TX = 0, 1
Unknown = tuple[str, int, int]  # kind, direction, window
Form = dict[Unknown, Fraction]


class Span:
    """All rational combinations of the forms added, kept in echelon form."""

    def __init__(self, forms: Iterable[Form] = ()) -> None:
        self._rows: dict[Unknown, Form] = {}
        for form in forms:
            self.add(form)

    def add(self, form: Form) -> None:
        rest = self._reduced(form)
        if rest:
            pivot = min(rest)
            self._rows[pivot] = {unknown: each / rest[pivot] for unknown, each in rest.items()}

    def holds(self, form: Form) -> bool:
        return not self._reduced(form)

    def _reduced(self, form: Form) -> Form:
        rest = dict(form)
        for pivot in sorted(self._rows):
            factor = rest.get(pivot, Fraction(0))
            if factor:
                for unknown, each in self._rows[pivot].items():
                    rest[unknown] = rest.get(unknown, Fraction(0)) - factor * each
        return {unknown: each for unknown, each in rest.items() if each}


def total(kinds: Iterable[str], direction: int, windows: int) -> Form:
    """What *kinds* moved in the first so many windows."""
    return {(kind, direction, window): Fraction(1) for kind in kinds for window in range(windows)}


def test_the_elimination_finds_what_a_reader_of_totals_would() -> None:
    alpha, beta, tunnel = (total(kinds, RX, 2) for kinds in ([ALPHA], [BETA], [ALPHA, BETA]))

    assert Span([alpha, beta]).holds(tunnel)
    assert Span([tunnel, beta]).holds(alpha)
    assert not Span([tunnel]).holds(alpha)
    assert not Span([tunnel, total([ALPHA], TX, 2), total([ALPHA], RX, 1)]).holds(alpha)
    assert not Span([total([ALPHA], RX, 1), total([ALPHA], RX, 3)]).holds(alpha)
    assert Span([]).holds({})


# What each session of a class moves in each window, in MiB; the shared class has one link.
_contributions = st.one_of(
    st.lists(st.integers(1, 12), min_size=1, max_size=12),
    st.integers(5, 12).map(lambda size: [8] * size),
    st.tuples(st.integers(20, 150), st.integers(1, 10)).map(lambda each: [each[0], *[1] * each[1]]),
)
_windows = st.lists(
    st.fixed_dictionaries(
        {
            ALPHA: _contributions,
            BETA: _contributions,
            WG: st.lists(st.sampled_from((1, 1, 40)), min_size=1, max_size=1),
        }
    ),
    min_size=1,
    max_size=5,
)
# In the second window all classes pass over what was held back of them, and the node does not: of
# its pool, the second window, one session of alpha has more than half.
_CLASSES_BEFORE_NODE = [
    {ALPHA: [12] * 10, BETA: [2], WG: [1]},
    {ALPHA: [60, *[1] * 9], BETA: [2] * 10, WG: [1]},
]


@settings(max_examples=100)
@example(_CLASSES_BEFORE_NODE, [True])
@given(_windows, st.lists(st.booleans(), min_size=1, max_size=5))
def test_no_withheld_cell_is_a_rational_combination_of_anything_published(
    moved: list[dict[str, list[int]]], do_they_stay: list[bool]
) -> None:
    recording = played(moved, do_they_stay)

    releases = recording.releases()

    published, withheld = audited(recording, releases)
    told = Span(published)
    for form in withheld:
        assert not told.holds(form)


def played(moved: list[dict[str, list[int]]], do_they_stay: list[bool]) -> Recording:
    """Let every class and the uplinks move at least 1 MiB in every window and direction."""
    recording = Recording(configured(k=5))
    uplink = recording.open(UPLINK)
    open_links: dict[str, list[Link]] = {kind: [] for kind in CLASSES}
    for window, of_class in enumerate(moved):
        recording.wait(1)
        recording.move(uplink, MIB, MIB)
        for kind, contributions in of_class.items():
            links = open_links[kind]
            if not do_they_stay[window % len(do_they_stay)]:
                for link in links:
                    recording.close(link)
                links.clear()
            links += recording.crowd(kind, len(contributions) - len(links))
            for link, mib in zip(links, contributions, strict=False):
                recording.move(link, mib * MIB, mib * MIB)
        recording.next_point()
    return recording


def audited(recording: Recording, releases: list[Release]) -> tuple[list[Form], list[Form]]:
    """Return the totals that were published, and those that were not, of all grid points.

    Totals grow from each grid point to the next, so that a published one tells as of which it is.
    """
    cells = [("uplink", [UPLINK]), ("tunnel", list(CLASSES)), *((kind, [kind]) for kind in CLASSES)]
    points = [release.at for release in releases]
    published: list[Form] = []
    withheld: list[Form] = []
    for number, release in enumerate(releases):
        for name, kinds in cells:
            for direction in (RX, TX):
                shown = pair(shown_total(release, name))[direction]
                exact = [0, *(recording.told_by(at, kinds)[direction] for at in points)]
                as_of = max(n for n in range(number + 2) if exact[n] // MIB * MIB == shown)
                published.append(total(kinds, direction, as_of))
                if as_of <= number:
                    withheld.append(total(kinds, direction, number + 1))
    return published, withheld


def shown_total(release: Release, name: str) -> Totals:
    match name:
        case "uplink":
            return release.uplink
        case "tunnel":
            return release.tunnel
    return of(release, name)


def pair(totals: Totals) -> tuple[int, int]:
    return totals.rx_bytes, totals.tx_bytes


@settings(max_examples=100)
@example(_CLASSES_BEFORE_NODE, [True])
@given(_windows, st.lists(st.booleans(), min_size=1, max_size=5))
def test_each_cell_is_published_whole_or_not_at_all(
    moved: list[dict[str, list[int]]], do_they_stay: list[bool]
) -> None:
    recording = played(moved, do_they_stay)

    changes = []
    releases = [nothing_yet(recording), *recording.releases()]
    for before, after in pairwise(releases):
        node = {before.uplink != after.uplink, before.tunnel != after.tunnel}
        classes = {of(before, kind) != of(after, kind) for kind in CLASSES}
        changes.append((node, classes))

    # Every one of these totals grows in every window.
    for node, classes in changes:
        assert len(node) == len(classes) == 1
        assert classes <= node | {False}


def nothing_yet(recording: Recording) -> Release:
    zeros = tuple((kind, Totals()) for kind in CLASSES)
    return Release(0, 0, recording.settings.capacity_bits_per_second, Totals(), Totals(), zeros)


@settings(max_examples=100)
@given(plans, sessions)
def test_where_one_class_alone_has_links_both_cells_are_decided_alike(
    plan: Plan, kind: str
) -> None:
    # Its total is the tunnel total.
    recording = Recording(configured(k=5))
    others = (*CLASSES, "lo")

    for step in plan:
        do(in_one_class(step, kind, others), recording)
    recording.next_point()

    for decision in recording.decisions():
        assert decision.releases_node == decision.releases_classes
        assert decision.release.tunnel == of(decision.release, kind)


def in_one_class(step: Step, kind: str, others: tuple[str, ...]) -> Step:
    renames = step.do == "rename"
    return Step(
        step.do,
        kind if renames or step.kind in others else step.kind,
        step.which,
        step.size,
        step.rx,
        step.tx,
        step.seconds,
    )

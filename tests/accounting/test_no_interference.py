"""Two runs that differ in nothing that may be known are the same bytes outside.

They differ in names, numbers and namespaces of links, in who of equals carried the bytes, in when
inside a window they moved, and in what is withheld.
"""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.accounting.plans import Plan, amounts, plans, play, sessions, starts, windows
from tests.accounting.recordings import (
    ALPHA,
    MIB,
    MIDNIGHT,
    SLOT_SECONDS,
    UPLINK,
    WG,
    Naming,
    Recording,
    configured,
)
from trafficd.exporter.metrics import Page, render
from trafficd.wire.frame import decode_frame, encode_frame
from trafficd.wire.release_line import release_line


@dataclass(frozen=True)
class Outside:
    """All that leaves: a frame and a line each grid point, and the page in the end."""

    frames: list[bytes]
    lines: list[str]
    pages: dict[str, Page]


def outside(recording: Recording) -> Outside:
    releases = recording.releases()
    frames = [encode_frame(release) for release in releases]
    pages = render(decode_frame(frames[-1])) if frames else {}
    return Outside(frames, [release_line(release) for release in releases], pages)


# Without what tells one customer of another; with it.
PLAIN = Naming()
TELLING = Naming(
    namespaces=("green", "host", "blue"),
    first_ifindex=70_000,
    reuses_ifindexes=True,
    name=lambda kind, number: f"{kind}-mallory-{number * 7919 % 10_000}",
    dumps_backwards=True,
)

# What each of a group of sessions moves in each of a few windows, and an order of the sessions.
_equals = st.integers(2, 8).flatmap(
    lambda size: st.tuples(
        st.lists(
            st.lists(st.tuples(amounts, amounts), min_size=size, max_size=size),
            min_size=1,
            max_size=3,
        ),
        st.permutations(range(size)),
    )
)


@settings(max_examples=120)
@given(plans, windows, starts)
def test_names_numbers_namespaces_and_the_moment_in_a_window_change_nothing_outside(
    plan: Plan, window: str, start: int
) -> None:
    one = Recording(configured(window, 5), start, PLAIN)
    other = Recording(configured(window, 5), start, TELLING)

    play(plan, one)
    play(plan, other, is_prompt=True)

    assert outside(one) == outside(other)


@settings(max_examples=80)
@given(_equals, sessions, st.lists(plans, min_size=3, max_size=3), st.booleans())
def test_which_of_the_sessions_that_came_and_went_together_moved_the_bytes_changes_nothing_outside(
    equals: tuple[list[list[tuple[int, int]]], list[int]],
    kind: str,
    between: list[Plan],
    do_they_stay: bool,
) -> None:
    rows, order = equals
    recordings = Recording(configured(k=5)), Recording(configured(k=5))

    for recording, carriers in zip(recordings, (range(len(order)), order), strict=True):
        together = recording.crowd(kind, len(order))
        for link in together:
            link.is_apart = True
        for moved, plan in zip(rows, between, strict=False):
            for carrier, (rx, tx) in zip(carriers, moved, strict=True):
                recording.move(together[carrier], rx, tx)
            play(plan, recording)
        if not do_they_stay:
            recording.wait(1)
            for link in together:
                recording.close(link)
        play(between[-1], recording)

    assert outside(recordings[0]) == outside(recordings[1])


# What the uplink carries in each slot of an hour, as two orders of the same slots.
_hours = st.lists(
    st.lists(st.tuples(amounts, amounts), min_size=12, max_size=12).flatmap(
        lambda slots: st.tuples(st.just(slots), st.permutations(slots))
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60)
@given(_hours, st.integers(0, SLOT_SECONDS - 2), st.integers(0, SLOT_SECONDS - 2))
def test_the_order_of_the_slots_in_a_window_and_the_moment_in_a_slot_change_nothing_outside(
    hours: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]],
    early_seconds: int,
    late_seconds: int,
) -> None:
    runs = []

    for number, seconds in enumerate((early_seconds, late_seconds)):
        recording = Recording(now=MIDNIGHT - 3600 * len(hours))
        uplink, tunnel = recording.open(UPLINK), recording.open(WG)
        for orders in hours:
            for rx, tx in orders[number]:
                recording.wait(1 + seconds)
                recording.move(uplink, rx, tx)
                recording.dump()
                recording.wait(SLOT_SECONDS - 1 - seconds)
            recording.move(tunnel, MIB, MIB)
            recording.dump()
        runs.append(recording)

    assert outside(runs[0]) == outside(runs[1])
    counted = runs[0].last().utilisation
    assert sum(counted.receive) == sum(counted.transmit) == 12 * len(hours)


def test_a_byte_more_or_less_below_the_rounding_changes_nothing_outside() -> None:
    def night(rx: int) -> Recording:
        recording = Recording(configured(k=5))
        recording.crowd(ALPHA, 10, 10 * MIB)
        recording.open(ALPHA, rx)
        recording.next_point()
        return recording

    assert outside(night(MIB)) == outside(night(2 * MIB - 1))
    assert outside(night(MIB)) != outside(night(2 * MIB))


def test_the_bytes_of_a_cell_that_is_withheld_change_nothing_outside() -> None:
    def night(rx: int) -> Recording:
        recording = Recording(configured(k=5))
        recording.open(ALPHA, rx)
        recording.open(UPLINK, rx, rx)
        recording.next_point(3)
        return recording

    assert outside(night(1)) == outside(night(2**40))

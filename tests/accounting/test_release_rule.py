"""The release rule against an oracle, and against those who know it and want to get around it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.accounting.oracle import expected_releases
from tests.accounting.plans import Plan, plans, play, starts, windows
from tests.accounting.recordings import (
    ALPHA,
    BETA,
    CLASSES,
    MIB,
    MIDNIGHT,
    UPLINKS,
    WG,
    Recording,
    configured,
    of,
)
from trafficd.config import parse_config
from trafficd.releases import Release, Totals

fewest = st.sampled_from((5, 6, 10))
mib = st.integers(0, 12).map(lambda each: each * MIB)


def rounded(moved: tuple[int, int]) -> Totals:
    return Totals(moved[0] // MIB * MIB, moved[1] // MIB * MIB)


def assert_as_expected(recording: Recording) -> None:
    decided = recording.decisions()

    expected = expected_releases(recording.settings, recording.events)
    assert [each.release for each in decided] == [each.release for each in expected]
    assert [(each.releases_node, each.releases_classes) for each in decided] == [
        (each.node_passes, each.classes_pass) for each in expected
    ]


@settings(max_examples=300)
@given(plans, windows, fewest, starts)
def test_what_is_released_and_when_is_what_the_oracle_says(
    plan: Plan, window: str, k: int, start: int
) -> None:
    recording = Recording(configured(window, k), start)

    play(plan, recording)

    assert_as_expected(recording)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(mib, st.one_of(mib, st.just(0))), max_size=12),
    st.lists(st.tuples(mib, st.just(0)), max_size=6),
    st.sampled_from((0, 0, 1, MIB, 20 * MIB)),
    st.sampled_from((-1, 0, 1)),
    fewest,
)
def test_at_the_edges_of_each_rule_a_pool_is_judged_as_the_oracle_says(
    alphas: list[tuple[int, int]],
    betas: list[tuple[int, int]],
    shared_bytes: int,
    spare_bytes: int,
    k: int,
) -> None:
    recording = Recording(configured(k=k))
    for kind, rows in ((ALPHA, alphas), (BETA, betas)):
        for number, (rx, tx) in enumerate(rows):
            recording.open(kind, max(0, rx + (spare_bytes if number == 0 else 0)), tx)
    recording.open(WG, shared_bytes)

    recording.next_point()

    assert_as_expected(recording)


@settings(max_examples=100)
@given(plans, windows, fewest, starts)
def test_published_and_held_back_are_together_what_the_kernel_counted(
    plan: Plan, window: str, k: int, start: int
) -> None:
    recording = Recording(configured(window, k), start)
    play(plan, recording)

    decided = recording.decisions()

    node_at = classes_at = 0
    for each in decided:
        at = each.release.at
        assert each.node.pool.moved == moved_between(recording, node_at, at, CLASSES)
        for name in CLASSES:
            moved = moved_between(recording, classes_at, at, [name])
            assert each.classes[name].pool.moved == moved
        node_at = at if each.releases_node else node_at
        classes_at = at if each.releases_classes else classes_at
        assert each.release.uplink == rounded(recording.told_by(node_at, UPLINKS))
        assert each.release.tunnel == rounded(recording.told_by(node_at, CLASSES))
        for name in CLASSES:
            assert of(each.release, name) == rounded(recording.told_by(classes_at, [name]))


def moved_between(
    recording: Recording, since: int, until: int, kinds: tuple[str, ...] | list[str]
) -> Totals:
    before, now = recording.told_by(since, kinds), recording.told_by(until, kinds)
    return Totals(now[0] - before[0], now[1] - before[1])


@settings(max_examples=100)
@given(plans, windows, fewest)
def test_all_that_was_ever_held_back_is_published_once_a_crowd_arrives(
    plan: Plan, window: str, k: int
) -> None:
    recording = Recording(configured(window, k))
    play(plan, recording)
    everything = sum(recording.told_by(recording.now, (*CLASSES, *UPLINKS)))

    for kind in (ALPHA, BETA):
        recording.crowd(kind, 12, everything + MIB, everything + MIB)
    recording.next_point()

    last = recording.last()
    assert last.uplink == rounded(recording.told_by(recording.now, UPLINKS))
    assert last.tunnel == rounded(recording.told_by(recording.now, CLASSES))
    for name in CLASSES:
        assert of(last, name) == rounded(recording.told_by(recording.now, [name]))


# ---- those who know the rule ----


def test_a_hoarder_is_not_hidden_by_nine_idle_sessions() -> None:
    night = Recording(configured(k=10))
    hoarder = night.open(ALPHA)
    for _ in range(12):
        night.move(hoarder, 100 * MIB, 100 * MIB)
        night.next_point()

    night.crowd(ALPHA, 9, MIB, MIB)
    night.next_point()

    assert night.last().tunnel == of(night.last(), ALPHA) == Totals()


def test_a_hoarder_is_published_within_a_crowd_that_outweighs_it() -> None:
    night = Recording(configured(k=10))
    hoarder = night.open(ALPHA)
    for _ in range(12):
        night.move(hoarder, 100 * MIB, 0)
        night.next_point()

    night.crowd(ALPHA, 20, 100 * MIB, 0)
    night.next_point()

    assert night.last().tunnel == of(night.last(), ALPHA) == Totals(3200 * MIB, 0)


def test_a_client_that_reconnects_ten_times_is_one_contributor() -> None:
    recording = Recording(configured(k=10))

    for _ in range(10):
        recording.close(recording.open(ALPHA, 10 * MIB, 10 * MIB))
        recording.wait(60)
    recording.next_point()

    assert recording.last().tunnel == Totals()


def test_ten_clients_at_the_same_time_are_ten_contributors_even_when_they_are_gone() -> None:
    recording = Recording(configured(k=10))

    for session in recording.crowd(ALPHA, 10, 10 * MIB, 10 * MIB):
        recording.wait(60)
        recording.close(session)
    recording.next_point()

    assert recording.last().tunnel == Totals(100 * MIB, 100 * MIB)


def test_a_client_that_reconnects_takes_the_fullest_seat() -> None:
    recording = Recording(configured(k=5))
    short, long = recording.open(ALPHA, 20 * MIB), recording.open(ALPHA, 50 * MIB)
    recording.close(short)
    recording.close(long)
    again = recording.open(ALPHA)

    # On the seat of 50 that makes 80 of 159; on the one of 20 it would be 50 of 159.
    recording.move(again, 30 * MIB)
    recording.crowd(ALPHA, 4, 59 * MIB // 4)
    recording.next_point()

    assert recording.last().tunnel == Totals()


def test_the_fullest_seat_is_that_of_most_bytes_in_both_directions_together() -> None:
    recording = Recording(configured(k=5))
    for session in (recording.open(ALPHA, 30 * MIB), recording.open(ALPHA, 20 * MIB, 20 * MIB)):
        recording.close(session)

    # On the seat of 20 and 20 that makes 50 of 110 received; on the one of 30, 60.
    recording.open(ALPHA, 30 * MIB)
    recording.crowd(ALPHA, 4, 15 * MIB // 2, 20 * MIB)
    recording.next_point()

    assert recording.last().tunnel == Totals(110 * MIB, 100 * MIB)


@pytest.mark.parametrize("left", [[(30, 10), (10, 30)], [(10, 30), (30, 10)]])
def test_of_equally_full_seats_the_one_that_received_more_is_taken(
    left: list[tuple[int, int]],
) -> None:
    recording = Recording(configured(k=5))
    for session in [recording.open(ALPHA, rx * MIB, tx * MIB) for rx, tx in left]:
        recording.close(session)

    # 60 of 119 received; on the other seat it would be 40.
    recording.open(ALPHA, 30 * MIB)
    recording.crowd(ALPHA, 4, 49 * MIB // 4, 20 * MIB)
    recording.next_point()

    assert recording.last().tunnel == Totals()


def test_seats_are_empty_behind_a_release() -> None:
    recording = Recording(configured(k=10))
    first = recording.crowd(ALPHA, 12, 100 * MIB)
    recording.next_point()
    recording.wait(1)
    for session in first:
        recording.close(session)

    # Ten that moved little; none of them is on a seat where 100 MiB still lie.
    second = recording.crowd(ALPHA, 10, MIB)
    recording.next_point()
    for session in second[1:]:
        recording.move(session, MIB)
    recording.next_point()

    # Nine are too few, whatever the tenth and the first twelve moved before.
    assert [each.tunnel.rx_bytes // MIB for each in recording.releases()] == [1200, 1210, 1210]


def test_a_seat_that_was_left_before_a_release_is_taken_by_one_session_behind_it() -> None:
    recording = Recording(configured(k=20))
    recording.open(WG, 100 * MIB)
    for session in recording.crowd(ALPHA, 10, MIB):
        recording.close(session)
    recording.next_point()
    recording.wait(1)

    recording.crowd(ALPHA, 20, MIB)
    recording.next_point()

    assert [each.tunnel.rx_bytes // MIB for each in recording.releases()] == [110, 130]


def test_counters_that_begin_anew_leave_on_the_seat_what_was_counted_before() -> None:
    recording = Recording(configured(k=5))
    session = recording.open(ALPHA, 60 * MIB)
    recording.reset(session, 60 * MIB - 1, 0)

    # 120 of 239, but for a few bytes; without what was before the reset it would be 60.
    recording.crowd(ALPHA, 7, 17 * MIB - 1)
    recording.next_point()

    assert recording.last().tunnel == Totals()


def test_a_session_keeps_its_seat_over_a_release() -> None:
    recording = Recording(configured(k=10))
    crowd = recording.crowd(ALPHA, 10, 10 * MIB)
    recording.next_point()

    # The first of them reconnects: one seat of 20, nine of 1.
    recording.wait(1)
    recording.move(crowd[0], 10 * MIB)
    recording.close(crowd[0])
    recording.open(ALPHA, 10 * MIB)
    for session in crowd[1:]:
        recording.move(session, MIB)
    recording.next_point()
    held = recording.last()
    for session in crowd[1:]:
        recording.move(session, 10 * MIB)
    recording.next_point()

    assert held.tunnel == Totals(100 * MIB, 0)
    assert recording.last().tunnel == Totals(100 * MIB + 20 * MIB + 99 * MIB, 0)


def test_one_who_opens_all_sessions_but_one_learns_what_that_one_moved() -> None:
    # k sessions are not k people: no count of sessions can tell, and the README says so.
    sybil = Recording(configured(k=10))
    sybil.open(ALPHA, 5 * MIB)
    own = sybil.crowd(ALPHA, 9, MIB)

    sybil.next_point()

    assert sybil.last().tunnel.rx_bytes - sum(link.rx for link in own) == 5 * MIB


def test_one_who_reconnects_behind_idle_sessions_looks_like_as_many() -> None:
    # The same limit: ten sessions were open at the same time, on ten seats that one client filled.
    recording = Recording(configured(k=10))
    for _ in range(10):
        recording.close(recording.open(ALPHA, 10 * MIB))
        recording.open(ALPHA)

    recording.next_point()

    assert recording.last().tunnel == Totals(100 * MIB, 0)


def test_a_class_that_is_held_is_not_told_by_a_tunnel_total_that_is_its_own() -> None:
    # The idle sessions are of another class: the node has ten contributors, the class has one.
    recording = Recording(configured(k=10))
    for _ in range(10):
        recording.close(recording.open(ALPHA, 10 * MIB))
        recording.open(BETA)

    recording.next_point()

    assert recording.last().tunnel == Totals()


def test_bytes_of_the_very_grid_point_belong_to_the_window_that_ends() -> None:
    recording = Recording(configured(k=10))
    crowd = recording.crowd(ALPHA, 10, 10 * MIB)
    recording.next_point()

    # A second generation at the same instant: it sits down on the seats of the first.
    for session in crowd:
        recording.move(session, MIB)
        recording.close(session)
    recording.crowd(ALPHA, 10, MIB)
    recording.dump()
    recording.wait(1)
    recording.dump()

    assert [each.tunnel for each in recording.releases()] == [Totals(120 * MIB, 0)]


def test_a_client_that_reconnects_at_every_grid_point_stays_one_contributor() -> None:
    recording = Recording(configured(k=5))
    for _ in range(12):
        session = recording.open(ALPHA, 10 * MIB)
        recording.next_point()
        recording.move(session, MIB)
        recording.close(session)

    recording.next_point()

    assert {each.tunnel for each in recording.releases()} == {Totals()}


# ---- the rules, each at its edge ----


def passes(*contributions: tuple[int, int], k: int = 5) -> bool:
    """Whether sessions that moved these bytes are published."""
    recording = Recording(configured(k=k))
    for rx, tx in contributions:
        recording.open(ALPHA, rx, tx)
    recording.next_point()
    return recording.last().tunnel != Totals()


def test_a_contributor_has_a_mebibyte_both_directions_together() -> None:
    half = MIB // 2

    assert passes(*[(half, half)] * 10, k=10)
    assert not passes(*[(half, half)] * 9, (half, half - 1), k=10)
    assert not passes(*[(half, half)] * 9, k=10)


def test_the_second_largest_cannot_estimate_the_largest_within_20_percent() -> None:
    rest = (10 * MIB // 4, 0)

    assert passes((50 * MIB, 0), (45 * MIB, 0), *[rest] * 4)
    assert not passes((50 * MIB, 0), (45 * MIB, 0), *[rest] * 3, (rest[0] - 1, 0))


def test_the_largest_has_no_more_than_half() -> None:
    rest = (30 * MIB // 4, 0)

    assert passes((50 * MIB, 0), (20 * MIB, 0), *[rest] * 4)
    assert not passes((50 * MIB, 0), (20 * MIB, 0), *[rest] * 3, (rest[0] - 1, 0))


def test_each_direction_has_to_pass_for_itself() -> None:
    assert passes(*[(10 * MIB, 10 * MIB)] * 10)
    assert not passes(*[(10 * MIB, 0)] * 9, (10 * MIB, 1))
    assert not passes(*[(0, 10 * MIB)] * 9, (1, 10 * MIB))


def test_the_two_fullest_of_a_direction_are_not_those_of_both_together() -> None:
    # Sent: 60 of 110 by one that received nothing.
    receivers = [(1000 * MIB, 10 * MIB)] * 5

    assert not passes(*receivers, (0, 60 * MIB))
    assert passes(*receivers, (0, 50 * MIB))


def test_nothing_tells_that_a_cell_is_withheld() -> None:
    recording = Recording()
    recording.open(ALPHA, 100 * MIB)
    recording.next_point(2)

    first, second = recording.releases()

    assert second == Release(
        at=first.at + 3600,
        started_at=first.started_at,
        capacity_bits_per_second=3_000_000,
        uplink=Totals(),
        tunnel=Totals(),
        classes=tuple((name, Totals()) for name in CLASSES),
    )


def test_an_empty_pool_passes_and_lets_the_uplink_out() -> None:
    recording = Recording()
    recording.crowd(ALPHA, 3)
    recording.open(UPLINKS[0], 7 * MIB, 5 * MIB)

    recording.next_point()

    assert recording.last().uplink == Totals(7 * MIB, 5 * MIB)


def test_the_uplink_is_withheld_with_the_tunnels() -> None:
    recording = Recording()
    recording.open(UPLINKS[0], 7 * MIB, 5 * MIB)
    recording.open(ALPHA, 1)

    recording.next_point()

    assert recording.last().uplink == Totals()


# ---- classes ----


def test_a_class_that_never_passes_holds_the_class_cell_and_not_the_node_cell() -> None:
    recording = Recording()
    crowd, lonely = recording.crowd(ALPHA, 10), recording.open(BETA)
    for _ in range(3):
        for session in crowd:
            recording.move(session, 10 * MIB)
        recording.move(lonely, MIB)
        recording.next_point()

    releases = recording.releases()

    assert [each.tunnel.rx_bytes // MIB for each in releases] == [101, 202, 303]
    assert {each.classes for each in releases} == {tuple((name, Totals()) for name in CLASSES)}


def test_classes_that_pass_wait_for_the_node_cell() -> None:
    recording = Recording(configured(k=5))
    crowd, few = recording.crowd(ALPHA, 10, 10 * MIB), recording.crowd(BETA, 3, 10 * MIB)
    recording.next_point()

    # With two more each class passes over all that was held back of it; the node, of whose pool
    # only these two are, does not.
    few += recording.crowd(BETA, 2, 10 * MIB)
    recording.next_point()
    for session in crowd + few:
        recording.move(session, MIB)
    recording.next_point()

    releases = recording.releases()
    assert [each.tunnel.rx_bytes // MIB for each in releases] == [130, 130, 165]
    assert [of(each, ALPHA).rx_bytes // MIB for each in releases] == [0, 0, 110]
    assert [of(each, BETA).rx_bytes // MIB for each in releases] == [0, 0, 55]


def test_shared_links_alone_are_published_at_every_grid_point() -> None:
    recording = Recording()
    link = recording.open(WG, MIB, 3 * MIB)
    recording.next_point()
    recording.move(link, 5 * MIB)
    recording.next_point()

    releases = recording.releases()

    assert [of(each, WG) for each in releases] == [each.tunnel for each in releases]
    assert recording.last().tunnel == Totals(6 * MIB, 3 * MIB)


def test_a_shared_link_that_moved_bytes_excuses_from_the_count_and_from_nothing_else() -> None:
    def tunnel(shared_bytes: int, *sessions: int, sent: int = 0) -> Release:
        recording = Recording()
        recording.open(WG, shared_bytes, sent)
        for rx in sessions:
            recording.open(ALPHA, rx)
        recording.next_point()
        return recording.last()

    assert tunnel(0, 10 * MIB, 10 * MIB, 10 * MIB).tunnel == Totals()
    assert tunnel(MIB, 10 * MIB, 10 * MIB, 10 * MIB).tunnel == Totals(31 * MIB, 0)
    # So little hides nothing: the tunnel total would be that of a class that is held.
    assert tunnel(MIB - 1, 10 * MIB, 10 * MIB, 10 * MIB).tunnel == Totals()
    assert tunnel(0, 10 * MIB, 10 * MIB, 10 * MIB, sent=MIB).tunnel == Totals()
    assert tunnel(10 * MIB, 10 * MIB).tunnel == Totals(20 * MIB, 0)
    assert tunnel(10 * MIB, 10 * MIB + 1).tunnel == Totals()
    # In the class cell the shared class passes and the session's does not.
    assert of(tunnel(10 * MIB, 10 * MIB), WG) == Totals()


def test_a_shared_link_of_the_last_pool_excuses_from_nothing() -> None:
    recording = Recording()
    recording.open(WG, 100 * MIB)
    few = recording.crowd(ALPHA, 3, 10 * MIB)
    recording.next_point()

    for session in few:
        recording.move(session, 10 * MIB)
    recording.next_point()

    assert [each.tunnel.rx_bytes // MIB for each in recording.releases()] == [130, 130]


def test_a_session_that_changes_its_class_is_the_same_contributor_of_the_node() -> None:
    recording = Recording(configured(k=5))
    session = recording.open(ALPHA, 60 * MIB)
    recording.rename(session, BETA)
    recording.move(session, 60 * MIB)

    # 120 of 239; as two contributors it would be 60.
    recording.crowd(ALPHA, 7, 17 * MIB)
    recording.next_point()

    assert recording.last().tunnel == Totals()


def test_a_session_that_changes_its_class_keeps_its_seat_of_the_node_for_a_fuller_one() -> None:
    recording = Recording(configured(k=5))
    session, gone = recording.open(ALPHA, 10 * MIB), recording.open(ALPHA, 50 * MIB)
    recording.close(gone)
    recording.rename(session, BETA)

    # On its own seat 60 of 190, and somebody else on that of 50; there it would be 100.
    recording.move(session, 50 * MIB)
    recording.crowd(ALPHA, 4, 20 * MIB)
    recording.next_point()

    assert recording.last().tunnel == Totals(190 * MIB, 0)


def test_a_session_that_changes_its_class_leaves_its_seat_there_to_the_next() -> None:
    recording = Recording(configured(k=5))
    renamed = recording.open(ALPHA, 40 * MIB)
    recording.rename(renamed, BETA)
    recording.move(renamed, 2 * MIB)

    # In alpha 80 of 159 on one seat; in the node 42 and 40 of 161.
    recording.open(ALPHA, 40 * MIB)
    recording.crowd(ALPHA, 4, 79 * MIB // 4)
    recording.next_point()

    assert recording.last().tunnel == Totals(161 * MIB, 0)
    assert of(recording.last(), ALPHA) == Totals()


def test_a_session_that_changes_its_class_takes_the_fullest_seat_there() -> None:
    def alpha(betas_left: int) -> Totals:
        recording = Recording(configured(k=5))
        session = recording.open(ALPHA, 10 * MIB)
        recording.crowd(ALPHA, 10, 100 * MIB)
        recording.crowd(BETA, 6, 10 * MIB)
        recording.close(recording.open(BETA, betas_left))
        recording.rename(session, BETA)
        recording.move(session, 30 * MIB)
        recording.next_point()
        return of(recording.last(), ALPHA)

    # Beta: 30 + 20 of 110 passes; 30 + 61 of 151 is more than half, though 61 and 30 are not.
    assert alpha(20 * MIB) == Totals(1010 * MIB, 0)
    assert alpha(61 * MIB) == Totals()


def test_what_a_session_moved_before_it_changed_its_class_stays_in_the_old_one() -> None:
    recording = Recording(configured(k=5))
    recording.crowd(BETA, 6, 10 * MIB)
    crowd = recording.crowd(ALPHA, 6, 10 * MIB)

    for session in crowd:
        recording.rename(session, BETA)
        recording.move(session, MIB)
    recording.next_point()

    assert of(recording.last(), ALPHA) == Totals(60 * MIB, 0)
    assert of(recording.last(), BETA) == Totals(66 * MIB, 0)


def test_a_session_that_is_ignored_for_a_while_leaves_its_seat() -> None:
    recording = Recording(configured(k=5))
    gone = recording.open(ALPHA, 40 * MIB)
    recording.rename(gone, "lo")
    recording.move(gone, 500 * MIB)

    # Who comes next sits on its seat: 80 of 159.
    recording.open(ALPHA, 40 * MIB)
    recording.crowd(ALPHA, 4, 79 * MIB // 4)
    recording.next_point()

    assert recording.last().tunnel == Totals()


# ---- the daily histogram ----


def test_the_histogram_is_published_at_midnight_only() -> None:
    recording = Recording(now=MIDNIGHT + 21 * 3600 - 1)
    recording.open(UPLINKS[0])
    recording.wait_until(26)

    releases = recording.releases()

    # 36 whole slots from 21:00 to 24:00, the two at 24:00 and later not yet.
    assert [sum(each.utilisation.receive) for each in releases] == [0, 0, 0, 36, 36, 36]
    assert [sum(each.utilisation.transmit) for each in releases] == [0, 0, 0, 36, 36, 36]
    assert releases[-1].utilisation.receive[0] == 36


def test_a_histogram_withheld_at_midnight_waits_for_the_next() -> None:
    recording = Recording(configured("6h"), now=MIDNIGHT + 18 * 3600)
    recording.open(UPLINKS[0])
    recording.open(ALPHA, MIB)
    recording.next_point()
    recording.wait_until(25)
    recording.crowd(ALPHA, 20, MIB)
    recording.next_point(4)

    releases = recording.releases()

    assert [each.tunnel.rx_bytes // MIB for each in releases] == [0, 21, 21, 21, 21]
    assert [sum(each.utilisation.receive) for each in releases] == [0, 0, 0, 0, 72 + 288]


def test_a_slot_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    recording = Recording(now=MIDNIGHT + 23 * 3600)
    up, port = recording.open("up"), recording.open("port")
    spare = recording.open("spare")
    # 3 Mbit/s for 300 seconds are 112.5 MB; each slot: receive and transmit bytes.
    one_percent = 1_125_000
    for rx, tx in (
        (5 * one_percent, 5 * one_percent + 1),
        (50 * one_percent, 50 * one_percent + 1),
        (52 * one_percent, 98 * one_percent + 1),
        (100 * one_percent, 100 * one_percent + 1),
    ):
        recording.move(up, rx // 2, tx // 2)
        recording.move(port, rx - rx // 2, tx - tx // 2)
        recording.move(spare, 10**9, 10**9)
        recording.wait(300)
    recording.wait_until(24)

    last = recording.last().utilisation

    def bucket(counts: tuple[int, ...]) -> dict[int, int]:
        return {number: count for number, count in enumerate(counts) if count}

    # 0.05 to 0.50 are the first ten, 0.52 to 1.00 the next twenty-five, +Inf the last.
    assert bucket(last.receive) == {0: 1 + 8, 9: 1, 10: 1, 34: 1}
    assert bucket(last.transmit) == {0: 8, 1: 1, 10: 1, 34: 1, 35: 1}


def test_without_a_capacity_no_slot_counts() -> None:
    unrated = parse_config('links: [{name: "spare*", role: uplink}]')
    recording = Recording(unrated, now=MIDNIGHT + 23 * 3600)
    recording.open("spare", 10**9, 10**9)
    recording.wait_until(24)

    assert sum(recording.last().utilisation.receive) == 0

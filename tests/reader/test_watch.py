"""Links that come, go, move and change under watch, against the bytes that went through them."""

import asyncio
import contextlib
import dataclasses
import random
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Namespace, make_namespace
from tests.lab import (
    KernelLink,
    TunSession,
    kernel_links,
    open_and_close_sessions,
    queue_link_events,
    recording_events,
    send_forged,
    send_frames,
    watching,
    without_ipv6,
)
from trafficd.kernel.dump import Dump
from trafficd.kernel.link_message import decode_link_messages
from trafficd.links import LinkRemoved, Sample
from trafficd.releases import Faults, Totals
from trafficd.rules import LinkRule, Population, Role
from trafficd.units import Word

pytestmark = pytest.mark.kernel

# Room for some events, and no storm.
SMALL_QUEUE_BYTES = 16_384


def counts(name: str, class_name: str) -> LinkRule:
    return LinkRule(name=name, class_=Word(class_name), population=Population.SHARED)


# ---- links that come and go ----


async def test_links_of_the_first_start_count_from_there_and_later_ones_from_their_creation(
    namespace: Namespace,
) -> None:
    with TunSession(namespace.name, "tun0", rx_bytes=5000) as old:
        old.transmit(namespace.name, 600)
        before = Totals(old.rx_bytes, old.tx_bytes)

        async with watching(namespace.name) as watched:
            with TunSession(namespace.name, "tun1", rx_bytes=70) as new:
                new.transmit(namespace.name, 80)
                old.receive(90)
                await watched.sample()

    assert watched.class_totals() == Totals(
        old.rx_bytes - before.rx_bytes + new.rx_bytes, old.tx_bytes - before.tx_bytes + new.tx_bytes
    )


async def test_a_session_that_no_sample_ever_saw_counts_to_the_byte(namespace: Namespace) -> None:
    async with watching(namespace.name) as watched:
        with TunSession(namespace.name, "tun0", rx_bytes=123_457) as session:
            session.transmit(namespace.name, 1001)

        await watched.sample()

    assert watched.class_totals() == Totals(session.rx_bytes, session.tx_bytes)


async def test_sessions_of_a_few_milliseconds_add_up_without_any_sample(
    namespace: Namespace,
) -> None:
    sizes = random.Random(1).choices(range(20, 100_000), k=300)

    async with watching(namespace.name) as watched:
        open_and_close_sessions(namespace.name, sizes)
        await watched.sample()

    assert watched.class_totals() == Totals(sum(sizes), 0)
    assert watched.faults.faults().overruns == 0


@pytest.mark.parametrize("is_following", [True, False])
async def test_sessions_of_a_few_milliseconds_add_up_whenever_samples_are_taken(
    namespace: Namespace, is_following: bool
) -> None:
    chance = random.Random(2)
    sizes = chance.choices(range(20, 100_000), k=300)
    samples = 0

    with TunSession(namespace.name, "tun-old", rx_bytes=999):
        async with watching(namespace.name, is_following=is_following) as watched:
            async with asyncio.TaskGroup() as group:
                sessions = group.create_task(
                    asyncio.to_thread(open_and_close_sessions, namespace.name, sizes)
                )
                while not sessions.done():
                    await watched.sample()
                    samples += 1
                    await turns(chance.randrange(30))
            await watched.sample()

    assert watched.class_totals() == Totals(sum(sizes), 0)
    assert samples > 1


async def test_a_link_that_ends_between_first_dump_and_its_name_is_named_by_its_end(
    namespace: Namespace,
) -> None:
    session = TunSession(namespace.name, "tun0", rx_bytes=1000)

    def end() -> None:
        session.receive(77)
        session.close()

    async with asyncio.timeout(20), watching(namespace.name, before_first_names=end) as watched:
        await watched.sample()

    assert watched.class_totals() == Totals(77, 0)
    assert watched.tables[0].ifindexes == sorted(kernel_links(namespace.name))


async def test_a_link_that_changes_its_name_before_the_first_asks_for_it_counts_as_what_it_was(
    namespace: Namespace,
) -> None:
    with TunSession(namespace.name, "tun0", rx_bytes=1000) as session:

        def change() -> None:
            session.receive(77)
            rename(namespace, session, "ppp0")
            session.receive(50)

        async with watching(namespace.name, before_first_names=change) as watched:
            await watched.sample()

    assert watched.ledger.standing().total(Role.TUNNEL) == Totals(127, 0)
    assert watched.class_totals("ppp").rx_bytes >= 50


async def test_an_ifindex_that_is_used_again_before_the_first_name_counts_both_links(
    namespace: Namespace,
) -> None:
    session = TunSession(namespace.name, "tun0", ifindex=77, rx_bytes=1000)
    with contextlib.ExitStack() as opened:

        def use_again() -> None:
            session.receive(60)
            session.close()
            opened.enter_context(TunSession(namespace.name, "ppp0", ifindex=77, rx_bytes=3000))

        async with watching(namespace.name, before_first_names=use_again) as watched:
            await watched.sample()

    assert watched.class_totals("openvpn") == Totals(60, 0)
    assert watched.class_totals("ppp") == Totals(3000, 0)


# ---- what a link's last word is worth ----


async def test_veth_keeps_what_was_last_seen_where_its_final_counter_falls_back(
    namespace: Namespace,
) -> None:
    without_ipv6(namespace.name)
    namespace.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    for name in ("veth0", "veth1"):
        namespace.ip("link", "set", name, "up")

    async with watching(namespace.name, rules=[counts("veth0", "lan")]) as watched:
        send_frames(namespace.name, "veth1", count=50, size=500)
        send_frames(namespace.name, "veth0", count=20, size=300)
        await watched.sample()
        send_frames(namespace.name, "veth0", count=1, size=100)
        truth = link_called("veth0", namespace)
        with recording_events(namespace.name) as datagrams:
            namespace.ip("link", "del", "veth0")
        await watched.sample()

    final = [
        event.counters.rx_bytes
        for each in datagrams
        for event in decode_link_messages(each).events
        if isinstance(event, LinkRemoved) and event.identity.name == b"veth0" and event.counters
    ]
    assert truth.rx_bytes > final[0]
    assert truth.tx_bytes > 0
    assert watched.class_totals("lan") == Totals(truth.rx_bytes, truth.tx_bytes)


async def test_a_counter_that_went_back_in_a_dump_is_a_reset(namespace: Namespace) -> None:
    with TunSession(namespace.name, "tun0", ifindex=50) as session:
        async with watching(namespace.name) as watched:
            session.receive(5000)
            await watched.sample()

            # No driver of a plain kernel resets a counter of a living link, so the dump is ours.
            watched.tables[0].apply(Sample([50], [300], [7]))
            watched.tables[0].apply(Sample([50], [400], [7]))

    assert watched.class_totals() == Totals(5000 + 400, 7)


# ---- links that move ----


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("is_sampled", [False, True])
async def test_a_link_that_moves_between_watched_namespaces_counts_once(
    namespace: Namespace, other_namespace: Namespace, is_reversed: bool, is_sampled: bool
) -> None:
    names = [namespace.name, other_namespace.name]
    async with watching(*(reversed(names) if is_reversed else names)) as watched:
        with TunSession(namespace.name, "tun0", rx_bytes=10_000) as session:
            if is_sampled:
                await watched.sample()
            session.receive(2000)
            namespace.ip("link", "set", "tun0", "netns", other_namespace.name)
            session.bring_up(other_namespace.name)
            session.receive(300)
            await watched.sample()
            session.receive(40)
            session.transmit(other_namespace.name, 50)
        await watched.sample()

    assert session.rx_bytes == 12_340
    assert watched.class_totals() == Totals(session.rx_bytes, session.tx_bytes)


async def test_a_link_that_comes_from_an_unwatched_namespace_counts_from_its_arrival(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    async with watching(namespace.name) as watched:
        with TunSession(other_namespace.name, "tun0", rx_bytes=10_000) as session:
            other_namespace.ip("link", "set", "tun0", "netns", namespace.name)
            session.bring_up(namespace.name)
            session.receive(300)
            await watched.sample()

    assert watched.class_totals() == Totals(300, 0)


async def test_a_link_that_leaves_for_an_unwatched_namespace_counts_until_then(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    async with watching(namespace.name) as watched:
        with TunSession(namespace.name, "tun0", rx_bytes=10_000) as session:
            namespace.ip("link", "set", "tun0", "netns", other_namespace.name)
            session.bring_up(other_namespace.name)
            session.receive(300)
            await watched.sample()

    assert watched.class_totals() == Totals(10_000, 0)


async def test_a_link_that_moves_and_comes_back_counts_what_it_moved_while_here(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    async with watching(namespace.name) as watched:
        with TunSession(namespace.name, "tun0", rx_bytes=10_000) as session:
            await watched.sample()
            namespace.ip("link", "set", "tun0", "netns", other_namespace.name)
            session.bring_up(other_namespace.name)
            session.receive(7_000_000)
            other_namespace.ip("link", "set", "tun0", "netns", namespace.name)
            session.bring_up(namespace.name)
            session.receive(300)
            await watched.sample()

    assert watched.class_totals() == Totals(10_300, 0)


async def test_several_namespaces_with_the_same_ifindexes_add_up_in_one_ledger(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    with make_namespace() as third:
        names = [namespace.name, other_namespace.name, third.name]
        async with watching(*names) as watched:
            async with asyncio.TaskGroup() as group:
                for number, name in enumerate(names):
                    sizes = [1000 * (number + 1)] * 20
                    group.create_task(asyncio.to_thread(open_and_close_sessions, name, sizes))
                with TunSession(namespace.name, "tun-a", ifindex=99, rx_bytes=500_000):
                    with TunSession(other_namespace.name, "tun-b", ifindex=99, rx_bytes=50_000):
                        await watched.sample()
                    await watched.sample()
                    with TunSession(third.name, "ppp0", ifindex=99, rx_bytes=600):
                        await watched.sample()
            await watched.sample()

    assert watched.class_totals() == Totals(20 * (1000 + 2000 + 3000) + 500_000 + 50_000, 0)
    assert watched.class_totals("ppp") == Totals(600, 0)


# ---- links that change their name, and numbers that are used again ----


@pytest.mark.parametrize("is_sampled", [False, True])
async def test_bytes_before_a_rename_stay_in_the_old_class_and_later_ones_go_to_the_new(
    namespace: Namespace, is_sampled: bool
) -> None:
    async with watching(namespace.name) as watched:
        with TunSession(namespace.name, "tun0", rx_bytes=10_000) as session:
            ifindex = next(iter(kernel_links(namespace.name).keys() - {1}))
            if is_sampled:
                await watched.sample()
            session.receive(200)
            rename(namespace, session, "ppp0")
            session.receive(33)
            await watched.sample()
            ifindex_afterwards = next(iter(kernel_links(namespace.name).keys() - {1}))
        await watched.sample()

    assert ifindex_afterwards == ifindex
    assert watched.class_totals("openvpn") == Totals(10_200, 0)
    assert watched.class_totals("ppp") == Totals(33, 0)


@pytest.mark.parametrize("moment", ["before_dump", "after_dump"])
async def test_a_rename_around_a_dump_that_runs_ahead_of_the_events_parts_the_bytes_all_the_same(
    namespace: Namespace, moment: str
) -> None:
    async with watching(namespace.name, is_following=False) as watched:
        with TunSession(namespace.name, "tun0", rx_bytes=10_000) as session:

            def rename_and_move() -> None:
                session.receive(200)
                rename(namespace, session, "ppp0")
                session.receive(33)

            await watched.sample()
            setattr(watched.readers[0], moment, rename_and_move)
            await watched.sample()
            await watched.sample()

    assert watched.class_totals("openvpn") == Totals(10_200, 0)
    assert watched.class_totals("ppp") == Totals(33, 0)


@pytest.mark.parametrize(("first", "second"), [(5000, 300), (300, 5000), (400, 400)])
@pytest.mark.parametrize("is_sampled_between", [True, False])
async def test_an_ifindex_that_is_used_again_counts_both_links(
    namespace: Namespace, first: int, second: int, is_sampled_between: bool
) -> None:
    async with watching(namespace.name, is_following=False) as watched:
        with TunSession(namespace.name, "tun0", ifindex=77, rx_bytes=first):
            await watched.sample()
        if is_sampled_between:
            await watched.sample()
        with TunSession(namespace.name, "ppp0", ifindex=77, rx_bytes=second):
            await watched.sample()
            await watched.sample()

    assert watched.class_totals("openvpn") == Totals(first, 0)
    assert watched.class_totals("ppp") == Totals(second, 0)


@pytest.mark.parametrize(("first", "second"), [(5000, 300), (300, 5000), (400, 400)])
@pytest.mark.parametrize("moment", ["before_dump", "after_dump"])
async def test_an_ifindex_that_is_used_again_between_a_dump_and_its_events_counts_both_links(
    namespace: Namespace, first: int, second: int, moment: str
) -> None:
    async with (
        watching(namespace.name, is_following=False) as watched,
        contextlib.AsyncExitStack() as opened,
    ):
        session = TunSession(namespace.name, "tun0", ifindex=77, rx_bytes=first)
        await watched.sample()

        def use_again() -> None:
            session.receive(60)
            session.close()
            opened.enter_context(TunSession(namespace.name, "ppp0", ifindex=77, rx_bytes=second))

        setattr(watched.readers[0], moment, use_again)
        await watched.sample()
        await watched.sample()

    assert watched.class_totals("openvpn") == Totals(first + 60, 0)
    assert watched.class_totals("ppp") == Totals(second, 0)


@pytest.mark.parametrize("moment", ["before_names", "after_names"])
async def test_an_ifindex_that_is_used_again_while_names_are_asked_counts_both_links(
    namespace: Namespace, moment: str
) -> None:
    async with (
        watching(namespace.name, is_following=False) as watched,
        contextlib.AsyncExitStack() as opened,
    ):
        session = TunSession(namespace.name, "tun0", ifindex=77, rx_bytes=5000)
        await watched.sample()

        def use_again() -> None:
            session.receive(60)
            session.close()
            opened.enter_context(TunSession(namespace.name, "ppp0", ifindex=77, rx_bytes=300))

        setattr(watched.readers[0], moment, use_again)
        await watched.watches[0].reclassify()
        await watched.sample()

    assert watched.class_totals("openvpn") == Totals(5060, 0)
    assert watched.class_totals("ppp") == Totals(300, 0)


async def test_sessions_that_open_move_rename_and_end_anywhere_add_up_under_random_samples(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    chance = random.Random(3)
    seeds = [chance.randrange(2**32) for _ in range(60)]

    async with watching(namespace.name, other_namespace.name) as watched:
        async with asyncio.TaskGroup() as group:
            lives = group.create_task(
                asyncio.to_thread(live_many_lives, namespace, other_namespace, seeds)
            )
            while not lives.done():
                await watched.sample()
                await turns(chance.randrange(60))
        await watched.sample()

    truth = lives.result()
    assert watched.class_totals("openvpn") == Totals(truth["tun"], 0)
    assert watched.class_totals("ppp") == Totals(truth["ppp"], 0)


# ---- bridges ----


async def test_a_port_that_leaves_its_bridge_counts_on(namespace: Namespace) -> None:
    without_ipv6(namespace.name)
    namespace.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    namespace.ip("link", "add", "br0", "type", "bridge")
    namespace.ip("link", "set", "veth0", "master", "br0")
    for name in ("veth0", "veth1", "br0"):
        namespace.ip("link", "set", name, "up")

    async with watching(namespace.name, rules=[counts("veth0", "lan")]) as watched:
        send_frames(namespace.name, "veth1", count=3, size=400)
        await watched.sample()
        namespace.ip("link", "set", "veth0", "nomaster")
        await watched.sample()
        send_frames(namespace.name, "veth1", count=5, size=400)
        await watched.sample()

    # An Ethernet header stands before each packet; the bridge itself sends queries now and then.
    assert watched.class_totals("lan").rx_bytes == (3 + 5) * (14 + 400)


# ---- overruns ----


async def test_an_overrun_is_counted_once_and_known_links_count_on_to_the_byte(
    namespace: Namespace,
) -> None:
    with TunSession(namespace.name, "ppp0", rx_bytes=999) as known:
        async with watching(
            namespace.name, event_buffer_bytes=SMALL_QUEUE_BYTES, is_following=False
        ) as watched:
            known.receive(1000)
            queue_link_events(namespace.name, 400)
            known.receive(200)
            await watched.sample()
            known.receive(30)
            await watched.sample()
            known.receive(4000)

    assert watched.class_totals("ppp") == Totals(1230, 0)
    assert watched.faults.faults() == Faults(overruns=1, malformed=0)


async def test_what_came_and_went_in_an_overrun_never_makes_a_jump(namespace: Namespace) -> None:
    async with watching(
        namespace.name, event_buffer_bytes=SMALL_QUEUE_BYTES, is_following=False
    ) as watched:
        queue_link_events(namespace.name, 400)
        open_and_close_sessions(namespace.name, [50_000] * 20)
        with TunSession(namespace.name, "tun-left", rx_bytes=5_000_000) as left:
            await watched.sample()
            await watched.sample()
            before = watched.class_totals()
            left.receive(71)
            await watched.sample()
            after = watched.class_totals()
            left.receive(80)
        await watched.sample()

    assert before == Totals(0, 0)
    assert after == Totals(71, 0)
    assert watched.class_totals() == Totals(151, 0)
    assert watched.faults.faults().overruns == 1


async def test_a_link_whose_end_was_lost_keeps_what_was_seen_of_it(namespace: Namespace) -> None:
    async with watching(
        namespace.name, event_buffer_bytes=SMALL_QUEUE_BYTES, is_following=False
    ) as watched:
        with TunSession(namespace.name, "tun0", rx_bytes=6000):
            await watched.sample()
            queue_link_events(namespace.name, 400)
        await watched.sample()
        await watched.sample()
        await watched.sample()

    assert watched.class_totals() == Totals(6000, 0)
    assert len(watched.tables[0].ifindexes) == len(kernel_links(namespace.name))


async def test_a_rename_that_was_lost_is_found_out(namespace: Namespace) -> None:
    async with watching(
        namespace.name, event_buffer_bytes=SMALL_QUEUE_BYTES, is_following=False
    ) as watched:
        with TunSession(namespace.name, "tun0", rx_bytes=6000) as session:
            await watched.sample()
            queue_link_events(namespace.name, 400)
            rename(namespace, session, "ppp0")
            await watched.sample()
            await watched.sample()
            session.receive(55)
            await watched.sample()

    assert watched.class_totals("openvpn") == Totals(6000, 0)
    assert watched.class_totals("ppp") == Totals(55, 0)


async def test_a_link_that_moved_in_unnoticed_brings_no_bytes_along(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    async with watching(
        namespace.name, event_buffer_bytes=SMALL_QUEUE_BYTES, is_following=False
    ) as watched:
        with TunSession(other_namespace.name, "tun0", rx_bytes=9_000_000) as session:
            queue_link_events(namespace.name, 400)
            other_namespace.ip("link", "set", "tun0", "netns", namespace.name)
            await watched.sample()
            session.bring_up(namespace.name)
            session.receive(66)
            await watched.sample()
            session.receive(70)
            await watched.sample()

    assert watched.class_totals().rx_bytes in range(70, 66 + 70 + 1)


async def test_a_second_overrun_while_the_first_is_mended_is_mended_as_well(
    namespace: Namespace,
) -> None:
    with TunSession(namespace.name, "ppp0") as known:
        async with watching(
            namespace.name, event_buffer_bytes=SMALL_QUEUE_BYTES, is_following=False
        ) as watched:
            known.receive(1000)
            queue_link_events(namespace.name, 400)
            await watched.sample()

            def overrun_again() -> None:
                namespace.ip("link", "del", "noise")
                queue_link_events(namespace.name, 400)
                known.receive(200)

            watched.readers[0].after_dump = overrun_again
            await watched.sample()
            known.receive(30)
            await watched.sample()

        assert sorted(watched.tables[0].ifindexes) == sorted(kernel_links(namespace.name))
    assert watched.class_totals("ppp") == Totals(1230, 0)
    assert watched.faults.faults().overruns == 2


async def test_a_torn_dump_after_an_overrun_is_asked_for_again(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(
        namespace.name, event_buffer_bytes=SMALL_QUEUE_BYTES, is_following=False
    ) as watched:
        with TunSession(namespace.name, "tun0", rx_bytes=6000):
            await watched.sample()
            queue_link_events(namespace.name, 400)
        await watched.sample()
        torn = dataclasses.replace(await watched.readers[0].dump(), is_whole=False)
        asked = watched.readers[0].dump
        answers = [torn, torn]

        async def dump() -> Dump:
            return answers.pop() if answers else await asked()

        monkeypatch.setattr(watched.readers[0], "dump", dump)
        await watched.sample()

        assert sorted(watched.tables[0].ifindexes) == sorted(kernel_links(namespace.name))
    assert watched.class_totals() == Totals(6000, 0)


async def test_a_storm_over_a_small_queue_never_counts_more_than_was_moved(
    namespace: Namespace,
) -> None:
    chance = random.Random(4)
    sizes = chance.choices(range(20, 100_000), k=200)

    with TunSession(namespace.name, "ppp0", rx_bytes=999) as known:
        async with watching(
            namespace.name, event_buffer_bytes=SMALL_QUEUE_BYTES, is_following=False
        ) as watched:
            async with asyncio.TaskGroup() as group:
                sessions = group.create_task(
                    asyncio.to_thread(open_and_close_sessions, namespace.name, sizes)
                )
                while not sessions.done():
                    known.receive(1000)
                    await watched.sample()
                    await turns(chance.randrange(300))
            await watched.sample()
            await watched.sample()
            await watched.sample()

    assert watched.class_totals("ppp") == Totals(known.rx_bytes - 999, 0)
    assert 0 <= watched.class_totals("openvpn").rx_bytes <= sum(sizes)
    assert set(watched.tables[0].ifindexes) <= set(kernel_links(namespace.name)) | {2}


# ---- lies ----


async def test_a_forged_end_of_a_link_counts_nothing_and_closes_nothing(
    namespace: Namespace,
) -> None:
    body = struct.pack("=BxHiII", 0, 65534, 88, 0, 0) + struct.pack("=HH8s", 12, 3, b"tun0")
    counted = struct.pack("=HH16xQQ", 204, 23, 2**50, 2**50).ljust(204, b"\0")
    forged = struct.pack("=IHHII", 16 + len(body) + 204, 17, 0, 0, 0) + body + counted

    async with watching(namespace.name) as watched:
        with TunSession(namespace.name, "tun0", ifindex=88, rx_bytes=500) as session:
            send_forged(namespace.name, watched.event_ports[0], forged)
            await watched.sample()
            session.receive(60)
        await watched.sample()

    assert watched.class_totals() == Totals(560, 0)


async def turns(count: int) -> None:
    """Let the loop do other things for so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


def link_called(name: str, namespace: Namespace) -> KernelLink:
    (found,) = [link for link in kernel_links(namespace.name).values() if link.name == name]
    return found


def rename(namespace: Namespace, session: TunSession, name: str) -> None:
    """Rename the link of *session*: in full flight, or down where the kernel is older than 6.2."""
    old = session.name.decode()
    try:
        namespace.ip("link", "set", old, "name", name)
    except AssertionError:
        namespace.ip("link", "set", old, "down")
        namespace.ip("link", "set", old, "name", name)
    session.name = name.encode()
    session.bring_up(namespace.name)


def live_many_lives(
    namespace: Namespace, other_namespace: Namespace, seeds: list[int]
) -> dict[str, int]:
    """Let a session live for each of *seeds*; return the bytes received under each kind of name."""
    moved = {"tun": 0, "ppp": 0}

    def live(number: int, seed: int) -> tuple[int, int]:
        chance = random.Random(seed)
        here, there = namespace, other_namespace
        kind, received = "tun", {"tun": 0, "ppp": 0}
        with TunSession(here.name, f"tun{number}") as session:
            for _ in range(chance.randrange(1, 6)):
                size = chance.randrange(20, 90_000)
                session.receive(size)
                received[kind] += size
                act = chance.choice(["rename", "move", "rest"])
                if act == "rename":
                    kind = "ppp" if kind == "tun" else "tun"
                    rename(here, session, f"{kind}{number}")
                elif act == "move":
                    here.ip("link", "set", session.name.decode(), "netns", there.name)
                    here, there = there, here
                    session.bring_up(here.name)
        return received["tun"], received["ppp"]

    with ThreadPoolExecutor(8) as lives:
        for tun, ppp in lives.map(live, range(len(seeds)), seeds):
            moved["tun"] += tun
            moved["ppp"] += ppp
    return moved

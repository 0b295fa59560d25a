"""Counters and names that a running kernel gives on request, against what iproute2 reads there."""

import asyncio
import contextlib
import select
import socket
import struct
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.conftest import Namespace
from tests.lab import (
    KernelLink,
    TunSession,
    add_link,
    kernel_links,
    send_forged,
    send_frames,
)
from trafficd.errors import KernelRefusedError
from trafficd.kernel.dump import Dump, LinkReader
from trafficd.kernel.sockets import LinkSockets, open_link_sockets
from trafficd.links import LinkChanged, LinkCounters

pytestmark = pytest.mark.kernel

KINDS: dict[str, list[tuple[str, ...]]] = {
    "dummy": [("link0", "type", "dummy")],
    "ifb": [("link0", "type", "ifb")],
    "veth": [("link0", "type", "veth", "peer", "name", "link1")],
    "bridge": [("link0", "type", "bridge")],
    "vlan": [
        ("link1", "type", "veth", "peer", "name", "link2"),
        ("link", "link1", "name", "link0", "type", "vlan", "id", "7"),
    ],
    "macvlan": [
        ("link1", "type", "veth", "peer", "name", "link2"),
        ("link", "link1", "name", "link0", "type", "macvlan"),
    ],
    "vxlan": [("link0", "type", "vxlan", "id", "7", "dstport", "4789", "remote", "127.0.0.2")],
    "gre": [("link0", "type", "gre", "local", "127.0.0.1", "remote", "127.0.0.2")],
    "ipip": [("link0", "type", "ipip", "local", "127.0.0.1", "remote", "127.0.0.2")],
    "wireguard": [("link0", "type", "wireguard")],
}


@contextlib.asynccontextmanager
async def reading(namespace: Namespace) -> AsyncIterator[tuple[LinkReader, LinkSockets]]:
    """A reader in *namespace*, and the sockets it was made with."""
    sockets = open_link_sockets(namespace.name)
    with contextlib.closing(LinkReader(sockets.dumps)) as reader, sockets.events:
        yield reader, sockets


@pytest.mark.parametrize("kind", KINDS)
async def test_dump_equals_what_iproute2_reads(namespace: Namespace, kind: str) -> None:
    for link in KINDS[kind]:
        add_link(namespace.name, *link)
    # Some kernels have fallback tunnels in every namespace, which cannot be set up.
    for name in [each.name for each in kernel_links(namespace.name).values()]:
        if name.startswith("link"):
            namespace.ip("link", "set", name, "up")
    send_frames(namespace.name, "link0", count=5, size=777)

    async with reading(namespace) as (reader, _):
        dump, expected = await dump_of_a_quiet_moment(reader, namespace)

    assert counters(dump) == expected
    assert (dump.malformed, dump.is_whole) == (0, True)


async def test_dump_equals_what_a_tun_session_moved(namespace: Namespace) -> None:
    async with reading(namespace) as (reader, _):
        with TunSession(namespace.name, "tun0", ifindex=1234, rx_bytes=2**20 + 1) as tun:
            tun.transmit(namespace.name, 999)

            dump = await reader.dump()

    assert counters(dump)[1234] == (tun.rx_bytes, tun.tx_bytes)


async def test_dump_of_many_links_holds_each_once(namespace: Namespace) -> None:
    batch(namespace, [f"link add a{n} type veth peer name b{n}" for n in range(200)])

    async with reading(namespace) as (reader, _):
        dump = await reader.dump()

    assert sorted(dump.sample.ifindexes) == sorted(kernel_links(namespace.name))
    assert len(dump.sample.ifindexes) >= 401


async def test_dump_through_which_links_come_is_not_whole_and_the_next_one_is(
    namespace: Namespace,
) -> None:
    batch(namespace, [f"link add a{n} type veth peer name b{n}" for n in range(300)])
    dumps: list[Dump] = []

    async with reading(namespace) as (reader, _), asyncio.timeout(60), asyncio.TaskGroup() as group:

        async def dump_twice() -> None:
            dumps.extend([await reader.dump(), await reader.dump()])

        group.create_task(dump_twice())
        await first_answer(reader)
        namespace.ip("link", "add", "late", "type", "bridge")

    assert [dump.is_whole for dump in dumps] == [False, True]
    assert sorted(dumps[1].sample.ifindexes) == sorted(kernel_links(namespace.name))


async def test_names_are_those_that_iproute2_lists(namespace: Namespace) -> None:
    batch(namespace, [f"link add a{n} type veth peer name b{n}" for n in range(60)])
    expected = {
        ifindex: link.name.encode() for ifindex, link in kernel_links(namespace.name).items()
    }

    async with reading(namespace) as (reader, _):
        found = await named(reader, list(expected))

    assert {link.ifindex: link.identity.name for link in found} == expected
    assert len(found) == len(expected)


async def test_a_name_comes_with_counters_and_type_of_the_link(namespace: Namespace) -> None:
    with TunSession(namespace.name, b"tun-\xfe", ifindex=77, rx_bytes=4321):
        async with reading(namespace) as (reader, _):
            (found,) = await named(reader, [77])

    assert found.identity.name == b"tun-\xfe"
    assert found.identity.link_type == 65534  # ARPHRD_NONE, linux/if_arp.h
    assert found.counters == LinkCounters(4321, 0)


async def test_names_leave_out_links_that_are_gone_and_do_not_wait_for_them(
    namespace: Namespace,
) -> None:
    batch(namespace, [f"link add a{n} type bridge" for n in range(100)])
    ifindexes = sorted(kernel_links(namespace.name))
    gone = set(ifindexes[1::3])
    batch(namespace, [f"link del a{ifindex - 2}" for ifindex in gone])

    async with reading(namespace) as (reader, _):
        found = await named(reader, ifindexes)

    assert [link.ifindex for link in found] == sorted(set(ifindexes) - gone)


async def test_names_of_no_link_at_all_are_none(namespace: Namespace) -> None:
    async with reading(namespace) as (reader, _):
        only_gone = await named(reader, list(range(5000, 5100)))
        nothing = await named(reader, [])

    assert (only_gone, nothing) == ([], [])


async def test_names_come_of_links_whose_answers_are_long(namespace: Namespace) -> None:
    lines = [f"link add a{n} type bridge" for n in range(60)]
    lines += [
        f"link property add dev a{n} altname {n}-{m}-{'x' * 100}"
        for n in range(60)
        for m in range(20)
    ]
    batch(namespace, lines)
    expected = sorted(kernel_links(namespace.name))

    async with reading(namespace) as (reader, _):
        found = await named(reader, expected)

    assert [link.ifindex for link in found] == expected


async def test_names_come_through_a_receive_buffer_of_64_kib(
    namespace: Namespace,
) -> None:
    batch(namespace, [f"link add a{n} type bridge" for n in range(60)])
    expected = sorted(kernel_links(namespace.name))

    async with reading(namespace) as (reader, _):
        # As a host has it where net.core.rmem_default is set to that.
        reader._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, (64 << 10) // 2)
        found = await named(reader, expected)

    assert [link.ifindex for link in found] == expected


async def test_an_answer_that_was_lost_is_an_error_and_nothing_waits_for_it(
    namespace: Namespace,
) -> None:
    batch(namespace, [f"link add a{n} type bridge" for n in range(20)])

    async with reading(namespace) as (reader, _):
        # Room for one answer, and the kernel drops what does not fit.
        reader._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        with pytest.raises(KernelRefusedError, match="an answer of the kernel was lost"):
            await named(reader, list(range(2, 22)))


async def test_an_answer_to_a_dump_from_another_sender_than_the_kernel_is_not_taken(
    namespace: Namespace,
) -> None:
    with TunSession(namespace.name, "tun0", ifindex=66, rx_bytes=1000):
        async with reading(namespace) as (reader, _):
            port = reader._socket.getsockname()[0]
            await reader.dump()
            # pyroute2 numbers requests on from here (AsyncCoreSocket.addr_pool).
            for sequence in range(0xFF, 0x110):
                counted = struct.pack("=HH16xQQ", 204, 1, 2**50, 2**50).ljust(204, b"\0")
                head = struct.pack("=IHHIIB3xII", 232, 92, 2, sequence, 0, 0, 66, 1)
                send_forged(namespace.name, port, head + counted)
            dump = await reader.dump()
            links = kernel_links(namespace.name)

    rows = list(zip(dump.sample.ifindexes, dump.sample.rx_bytes, strict=True))
    assert {(1, 0), (66, 1000)} <= set(rows)
    assert len(rows) == len(links)


async def test_a_refused_dump_is_an_error_that_says_what_the_kernel_lacks(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A kernel before 4.7 answers so to every dump, ours to one with an empty filter.
    monkeypatch.setattr("trafficd.kernel.dump.STATS_FILTER_LINK_64", 0)

    async with reading(namespace) as (reader, _):
        with pytest.raises(KernelRefusedError, match=r"does not know RTM_GETSTATS: .* 4\.7"):
            await reader.dump()


async def first_answer(reader: LinkReader) -> None:
    """Return when the kernel has answered a request in part and nobody has read that."""
    for _ in range(1000):
        if select.select([reader._socket], [], [], 0)[0]:
            return
        await asyncio.sleep(0)
    raise AssertionError("no answer")


async def named(reader: LinkReader, ifindexes: list[int]) -> list[LinkChanged]:
    async with asyncio.timeout(20):
        return [copied(link) async for links in reader.names(ifindexes) for link in links]


def copied(link: LinkChanged) -> LinkChanged:
    """Return *link* with its name as it is until the next ones are asked for."""
    return replace(link, identity=replace(link.identity, name=bytes(link.identity.name)))


async def dump_of_a_quiet_moment(
    reader: LinkReader, namespace: Namespace
) -> tuple[Dump, dict[int, tuple[int, int]]]:
    """Return a dump, and what iproute2 read both before and after it."""
    for _ in range(100):
        before = expected_counters(kernel_links(namespace.name))
        dump = await reader.dump()
        if before == expected_counters(kernel_links(namespace.name)):
            return dump, before
    raise AssertionError("the links never were quiet")


def expected_counters(links: dict[int, KernelLink]) -> dict[int, tuple[int, int]]:
    return {ifindex: (link.rx_bytes, link.tx_bytes) for ifindex, link in links.items()}


def counters(dump: Dump) -> dict[int, tuple[int, int]]:
    rows = zip(dump.sample.ifindexes, dump.sample.rx_bytes, dump.sample.tx_bytes, strict=True)
    return {ifindex: (rx, tx) for ifindex, rx, tx in rows}


def batch(namespace: Namespace, lines: list[str]) -> None:
    subprocess.run(
        ["ip", "-n", namespace.name, "-batch", "-"],
        input="\n".join(lines),
        text=True,
        timeout=60,
        check=True,
    )

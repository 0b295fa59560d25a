"""Links whose events would tell of a person or a peer: the filter keeps them, dumps count them."""

import os

import pytest

from tests.conftest import Namespace
from tests.lab import (
    TunSession,
    Watched,
    add_link,
    kernel_links,
    send_frames,
    watching,
    without_ipv6,
)
from trafficd.releases import Totals

pytestmark = pytest.mark.kernel

KINDS = (
    ("vxlan", "id", "7", "remote", "203.0.113.77", "dstport", "4789"),
    ("gre", "local", "192.0.2.1", "remote", "203.0.113.77"),
    ("ipip", "local", "192.0.2.1", "remote", "203.0.113.77"),
    ("geneve", "id", "7", "remote", "203.0.113.77"),
)


async def settle(watched: Watched) -> None:
    """Take the dumps that find a link, ask for its name, and begin with its counters."""
    for _ in range(3):
        await watched.sample()


async def test_a_session_with_an_alias_counts_by_dumps(namespace: Namespace) -> None:
    before = kernel_links(namespace.name)

    async with watching(namespace.name) as watched:
        with TunSession(namespace.name, "tun0") as session:
            namespace.ip("link", "set", "tun0", "alias", "somebody")
            session.receive(5000)
            await watched.sample()
            counted = watched.class_totals()
            session.receive(700)
            await watched.sample()
        for _ in range(2):
            await watched.sample()
        left = watched.tables[0].ifindexes

    assert counted == Totals(5000, 0)
    assert watched.class_totals() == Totals(5700, 0)
    # The end that nobody told of was seen.
    assert sorted(left) == sorted(before)


@pytest.mark.parametrize("kind", KINDS, ids=[kind[0] for kind in KINDS])
async def test_a_link_whose_events_do_not_arrive_is_found_counted_and_let_go(
    namespace: Namespace, kind: tuple[str, ...]
) -> None:
    without_ipv6(namespace.name)
    # A way to the peer, which ends in this namespace.
    namespace.ip("addr", "add", "192.0.2.1/24", "dev", "lo")
    namespace.ip("route", "add", "203.0.113.0/24", "dev", "lo")

    async with watching(namespace.name) as watched:
        add_link(namespace.name, "name", "tun7", "type", *kind)
        namespace.ip("link", "set", "tun7", "up")
        await settle(watched)
        before = sent(namespace)
        send_frames(namespace.name, "tun7", count=5, size=500)
        await watched.sample()
        moved = sent(namespace) - before
        namespace.ip("link", "del", "tun7")
        for _ in range(2):
            await watched.sample()
        left = watched.tables[0].ifindexes

    assert watched.class_totals().tx_bytes == moved > 0
    assert watched.faults.malformed == 0
    assert all(ifindex in kernel_links(namespace.name) for ifindex in left)


def sent(namespace: Namespace) -> int:
    links = kernel_links(namespace.name).values()
    return next(link.tx_bytes for link in links if link.name == "tun7")


async def test_a_link_that_is_found_by_a_dump_is_not_found_again_by_its_event(
    namespace: Namespace,
) -> None:
    async with watching(namespace.name, is_following=False) as watched:
        session = TunSession(namespace.name, "tun0", rx_bytes=1000)
        # Its event is in the queue: the dump must leave the link to it.
        await watched.sample()
        session.receive(500)
        await watched.sample()
        session.close()
        await watched.sample()

    assert watched.class_totals() == Totals(1500, 0)
    assert os.fsdecode(session.name) == "tun0"

"""The filters where it matters most: 10,000 links, whose dump fills the kernel's datagrams."""

import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import Namespace
from tests.lab import TunSession
from trafficd.kernel.dump import LinkReader
from trafficd.kernel.events import EventSocket
from trafficd.kernel.sockets import LinkSockets, open_link_sockets
from trafficd.links import LinkChanged, LinkRemoved

pytestmark = pytest.mark.kernel

LINKS = 10_000
RTM_GETSTATS, RTM_NEWSTATS, NLMSG_DONE = 94, 92, 3
NLM_F_REQUEST_DUMP = 0x301
STATS_FILTER_LINK_64 = 1


@pytest.fixture
def links(namespace: Namespace) -> Iterator[LinkSockets]:
    pairs = (f"link add a{n} type veth peer name b{n}\n" for n in range(LINKS // 2))
    subprocess.run(
        ["ip", "-n", namespace.name, "-batch", "-"],
        input="".join(pairs), text=True, timeout=120, check=True,
    )  # fmt: skip
    sockets = open_link_sockets(namespace.name)
    yield sockets
    sockets.events.close()
    sockets.dumps.close()


async def test_dumps_and_events_of_ten_thousand_links_arrive_through_the_filters(
    namespace: Namespace, links: LinkSockets
) -> None:
    *types, last = (kind for datagram in types_of_answers(links.dumps) for kind in datagram)
    session = TunSession(namespace.name, "tun0", rx_bytes=4096)
    reader = LinkReader(links.dumps)
    dump = await reader.dump()
    session.close()
    events = [event for decoded in EventSocket(links.events).drain() for event in decoded.events]
    reader.close()

    # The end is a datagram of its own on some kernels, and the last message of one on others.
    assert (last, set(types)) == (NLMSG_DONE, {RTM_NEWSTATS})
    # Besides them, lo and the session.
    assert len(dump.sample.ifindexes) == len(set(dump.sample.ifindexes)) == LINKS + 2
    assert dump.is_whole
    assert dump.malformed == 0
    assert {type(event) for event in events} == {LinkChanged, LinkRemoved}
    assert events[-1].counters is not None
    assert events[-1].counters.rx_bytes == 4096


def types_of_answers(dumps: socket.socket) -> list[list[int]]:
    """Ask for all counters; return the types of the messages in each datagram of the answer."""
    request = struct.pack("=IHHII4xII", 28, RTM_GETSTATS, NLM_F_REQUEST_DUMP, 1, 0, 0, 1)
    dumps.settimeout(30)
    dumps.send(request)
    found: list[list[int]] = []
    while not found or NLMSG_DONE not in found[-1]:
        datagram, offset = dumps.recv(1 << 16), 0
        found.append([])
        while offset < len(datagram):
            length, kind = struct.unpack_from("=IH", datagram, offset)
            found[-1].append(kind)
            offset += (length + 3) & ~3
    return found

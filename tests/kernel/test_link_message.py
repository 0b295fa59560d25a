"""Link messages of the running kernel, whole, cut and broken, against pyroute2's decoder."""

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from tests.conftest import Namespace, make_namespace
from tests.lab import TunSession, messages, recording_events
from trafficd.kernel.link_message import Decoded, decode_link_messages
from trafficd.links import LinkChanged, LinkCounters, LinkIdentity, LinkRemoved

# linux/rtnetlink.h, linux/if_link.h and linux/socket.h
RTM_NEWLINK = 16
RTM_DELLINK = 17
IFLA_IFNAME = 3
IFLA_STATS64 = 23
AF_BRIDGE = 7
HEADERS_BYTES = 32  # struct nlmsghdr and struct ifinfomsg


@pytest.fixture(scope="module")
def recorded() -> list[bytes]:
    """Link events as the kernel sent them: a tun's life, a veth's, and a bridge with a port."""
    with make_namespace() as namespace, recording_events(namespace.name) as datagrams:
        with TunSession(namespace.name, "tun0", rx_bytes=70_001) as tun:
            tun.transmit(namespace.name, 333)
            namespace.ip("link", "set", "tun0", "alias", "whose this is")
            namespace.ip("link", "property", "add", "dev", "tun0", "altname", "another-name")
        namespace.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        namespace.ip("link", "add", "br0", "type", "bridge")
        namespace.ip("link", "set", "veth0", "master", "br0", "up")
        namespace.ip("link", "del", "veth0")
    return datagrams


@pytest.mark.kernel
def test_every_recorded_event_decodes_as_pyroute2_decodes_it(recorded: list[bytes]) -> None:
    expected = [event for datagram in recorded for event in by_pyroute2(datagram)]

    decoded = [decode_link_messages(datagram) for datagram in recorded]

    assert [event for each in decoded for event in each.events] == expected
    assert {type(event) for event in expected} == {LinkChanged, LinkRemoved}
    assert sum(each.malformed for each in decoded) == 0


@pytest.mark.kernel
def test_several_messages_in_a_datagram_are_all_decoded_in_order(recorded: list[bytes]) -> None:
    expected = [event for datagram in recorded for event in by_pyroute2(datagram)]

    decoded = decode_link_messages(b"".join(recorded))

    assert decoded == Decoded(tuple(expected))


@pytest.mark.kernel
def test_a_cut_event_keeps_its_counters_if_its_bytes_came_and_its_name_if_that_came_whole(
    recorded: list[bytes],
) -> None:
    for datagram in recorded:
        for whole in by_pyroute2(datagram):
            name_end = attribute_place(datagram, IFLA_IFNAME)[1]
            # Behind the header: packets received and sent, then bytes received and sent.
            counters_end = attribute_place(datagram, IFLA_STATS64)[0] + 4 + 32
            nameless = Decoded((), malformed=1)
            only_named = Decoded((type(whole)(whole.ifindex, whole.identity, None),))

            found = [decode_link_messages(datagram[:size]) for size in range(len(datagram))]

            assert found == [
                Decoded(()),
                *[nameless] * (name_end - 1),
                *[only_named] * (counters_end - name_end),
                *[Decoded((whole,))] * (len(datagram) - counters_end),
            ]


@pytest.mark.kernel
def test_bridge_messages_of_a_port_are_left_out(namespace: Namespace) -> None:
    namespace.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    namespace.ip("link", "add", "br0", "type", "bridge")
    namespace.ip("link", "set", "veth0", "master", "br0", "up")

    with recording_events(namespace.name) as datagrams:
        namespace.ip("link", "set", "veth0", "nomaster")

    families = [
        datagram[16] for datagram in datagrams for kind, _ in messages(datagram) if kind == 17
    ]
    events = [event for each in datagrams for event in decode_link_messages(each).events]
    assert families == [AF_BRIDGE]
    assert LinkRemoved not in {type(event) for event in events}


@pytest.mark.kernel
def test_a_name_that_is_not_utf8_comes_back_as_the_bytes_it_is(namespace: Namespace) -> None:
    name = b"tun\xff\xc3("

    with recording_events(namespace.name) as datagrams:
        TunSession(namespace.name, name, rx_bytes=99).close()

    *_, last = [event for each in datagrams for event in decode_link_messages(each).events]
    assert last.identity.name == name
    assert last.counters == LinkCounters(99, 0)


@pytest.mark.parametrize("flags", [0, 0x4000, 0x8000])
@pytest.mark.parametrize("size", [0, 16, 31, 32, 33, 192, 224])
def test_counters_of_other_kernels_are_read_where_they_reach_far_enough(
    size: int, flags: int
) -> None:
    counters = bytes(range(size))
    datagram = link_message(
        attribute(IFLA_IFNAME, b"tun0\0"), attribute(IFLA_STATS64 | flags, counters)
    )

    (event,) = decode_link_messages(datagram).events

    # struct rtnl_link_stats64: packets received and sent, then bytes
    expected = LinkCounters(*struct.unpack_from("=QQ", counters, 16)) if size >= 32 else None
    assert event == LinkChanged(7, LinkIdentity(b"tun0", 65534, is_slave=False), expected)


@given(st.binary(max_size=4096))
def test_any_bytes_at_all_are_survived(datagram: bytes) -> None:
    decoded = decode_link_messages(datagram)

    assert counters_stand_in(datagram, decoded)


@st.composite
def likely_messages(draw: st.DrawFn) -> bytes:
    """Messages that are right but for some lengths, types and ends."""
    kinds = st.sampled_from([0, 1, IFLA_IFNAME, 20, IFLA_STATS64, 0x8000 | IFLA_STATS64])
    attributes = [attribute(IFLA_IFNAME, draw(st.binary(max_size=17)))]
    for kind, content in draw(st.lists(st.tuples(kinds, st.binary(max_size=240)), max_size=5)):
        told = draw(st.one_of(st.none(), st.none(), st.integers(0, 0xFFFF)))
        attributes.append(attribute(kind, content, told=told))
    return link_message(
        *attributes,
        family=draw(st.sampled_from([0, 0, 0, AF_BRIDGE, 10])),
        ifindex=draw(st.one_of(st.integers(1, 99), st.integers(-(2**31), 2**31 - 1))),
        kind=draw(st.sampled_from([RTM_NEWLINK, RTM_DELLINK, RTM_NEWLINK, RTM_DELLINK, 2, 3, 92])),
        told=draw(st.one_of(st.none(), st.none(), st.integers(0, 2**32 - 1))),
    )


@settings(max_examples=500)
@given(st.lists(likely_messages(), max_size=4), st.integers(0, 3000))
def test_messages_with_wrong_lengths_are_survived_and_invent_no_counters(
    parts: list[bytes], size: int
) -> None:
    datagram = b"".join(parts)[:size]

    decoded = decode_link_messages(datagram)

    assert counters_stand_in(datagram, decoded)


@pytest.mark.kernel
@settings(max_examples=500)
@given(st.data())
def test_recorded_events_with_flipped_bytes_are_survived(
    recorded: list[bytes], data: st.DataObject
) -> None:
    datagram = bytearray(data.draw(st.sampled_from(recorded)))
    flips = st.tuples(st.integers(0, len(datagram) - 1), st.integers(1, 255))
    for position, change in data.draw(st.lists(flips, max_size=8)):
        datagram[position] ^= change
    del datagram[data.draw(st.integers(0, len(datagram))) :]

    decoded = decode_link_messages(bytes(datagram))

    assert counters_stand_in(bytes(datagram), decoded)


def attribute(kind: int, content: bytes, *, told: int | None = None) -> bytes:
    """Build a struct nlattr that tells a wrong length if one is *told*."""
    length = 4 + len(content) if told is None else told
    return struct.pack("=HH", length, kind) + content + b"\0" * (-len(content) % 4)


def link_message(
    *attributes: bytes,
    kind: int = RTM_NEWLINK,
    family: int = 0,
    ifindex: int = 7,
    told: int | None = None,
) -> bytes:
    """Build a struct nlmsghdr and a struct ifinfomsg with *attributes*."""
    body = struct.pack("=BxHiII", family, 65534, ifindex, 0, 0) + b"".join(attributes)
    length = 16 + len(body) if told is None else told
    return struct.pack("=IHHII", length, kind, 0, 0, 0) + body


def by_pyroute2(datagram: bytes) -> Iterator[LinkChanged | LinkRemoved]:
    """Decode *datagram* generically; a bridge's messages about its ports are no link events."""
    for message in MarshalRtnl().parse(datagram):
        if message["family"] == 0:
            kind = LinkRemoved if message["header"]["type"] == RTM_DELLINK else LinkChanged
            stats = message.get_attr("IFLA_STATS64")
            yield kind(
                message["index"],
                LinkIdentity(
                    message.get_attr("IFLA_IFNAME").encode(),
                    message["ifi_type"],
                    bool(message["flags"] & 0x800),
                ),
                LinkCounters(stats["rx_bytes"], stats["tx_bytes"]),
            )


def attribute_place(datagram: bytes, wanted: int) -> tuple[int, int]:
    """Return where the attribute *wanted* of the only message begins and ends."""
    offset = HEADERS_BYTES
    while offset < len(datagram):
        length, kind = struct.unpack_from("=HH", datagram, offset)
        if kind == wanted:
            return offset, int(offset + length)
        offset += (length + 3) // 4 * 4
    raise AssertionError(f"no attribute {wanted}")


def counters_stand_in(datagram: bytes, decoded: Decoded) -> bool:
    """Tell whether all counters that were *decoded* were received, and all events have a name."""
    return all(
        event.identity.name
        and event.ifindex > 0
        and (
            event.counters is None
            or struct.pack("=QQ", event.counters.rx_bytes, event.counters.tx_bytes) in datagram
        )
        for event in decoded.events
    )

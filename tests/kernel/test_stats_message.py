"""RTM_GETSTATS dumps of the running kernel, whole, cut and broken, against slower decoders."""

import dataclasses
import errno
import struct
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifstatsmsg import ifstatsmsg

from tests.conftest import Namespace, make_namespace
from tests.lab import TunSession, entered, messages, recorded_dump, route_socket
from trafficd.kernel import stats_message
from trafficd.kernel.stats_message import StatsPart, decode_stats
from trafficd.links import Sample

# linux/netlink.h and linux/rtnetlink.h
NLMSG_DONE = 3
NLM_F_MULTI = 0x002
NLM_F_DUMP_INTR = 0x010
RTM_NEWSTATS = 92
DONE = struct.pack("=IHHIIi", 20, NLMSG_DONE, 2, 0, 0, 0)
PAIRS = 160


@pytest.fixture(scope="module")
def crowded() -> Iterator[Namespace]:
    """A namespace with more links than fit into two datagrams, and bytes on some of them."""
    with make_namespace() as made:
        lines = [f"link add a{n} type veth peer name b{n}" for n in range(PAIRS)]
        subprocess.run(
            ["ip", "-n", made.name, "-batch", "-"],
            input="\n".join(lines),
            text=True,
            timeout=60,
            check=True,
        )
        with TunSession(made.name, "tun0", rx_bytes=2**33 // 2**12 + 1) as tun:
            tun.transmit(made.name, 1234)
            yield made


@pytest.fixture(scope="module")
def recorded(crowded: Namespace) -> list[bytes]:
    """The datagrams of a whole dump."""
    return recorded_dump(crowded.name)


@pytest.mark.kernel
def test_a_recorded_dump_decodes_as_pyroute2_decodes_it(recorded: list[bytes]) -> None:
    expected = by_pyroute2(b"".join(recorded))

    parts = [decode_stats(datagram) for datagram in recorded]

    assert joined(parts) == expected
    assert len(expected.ifindexes) >= 2 * PAIRS + 2
    assert sum(part.malformed + part.error + part.is_interrupted for part in parts) == 0
    assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]


@pytest.mark.kernel
def test_columns_and_single_messages_give_the_same_sample(recorded: list[bytes]) -> None:
    full = [each for each in recorded if all(kind == RTM_NEWSTATS for kind, _ in messages(each))]

    by_columns = [stats_message._columns(datagram) for datagram in full]
    by_message = [stats_message._one_by_one(datagram) for datagram in full]

    assert len(full) >= 2
    assert by_columns == by_message


@pytest.mark.kernel
def test_a_dump_through_which_links_come_says_that_it_is_interrupted(crowded: Namespace) -> None:
    request = struct.pack("=IHHIIB3xII", 28, 94, 0x301, 7, 0, 0, 0, 1)

    with entered(crowded.name):
        netlink = route_socket()
    with netlink:
        netlink.send(request)
        parts = [decode_stats(netlink.recv(1 << 17))]
        crowded.ip("link", "add", "late", "type", "bridge")
        while not parts[-1].is_last:
            parts.append(decode_stats(netlink.recv(1 << 17)))

    assert not parts[0].is_interrupted
    assert any(part.is_interrupted for part in parts[1:])
    assert len(joined(parts).ifindexes) >= 2 * PAIRS + 2
    crowded.ip("link", "del", "late")


@pytest.mark.kernel
def test_a_refusal_of_the_kernel_carries_its_error_number(namespace: Namespace) -> None:
    a_filter_of_nothing = struct.pack("=IHHIIB3xII", 28, 94, 0x301, 7, 0, 0, 0, 0)

    with entered(namespace.name):
        netlink = route_socket()
    with netlink:
        netlink.send(a_filter_of_nothing)
        part = decode_stats(netlink.recv(1 << 17))

    assert part == StatsPart(Sample([], [], []), is_last=True, error=errno.EINVAL)


@pytest.mark.kernel
def test_a_cut_datagram_yields_the_links_that_came_whole(recorded: list[bytes]) -> None:
    for datagram in recorded[:2]:
        whole = by_pyroute2(datagram)
        length = 232  # headers of 28 bytes, an attribute's of 4, 25 counters (linux/if_link.h)

        for size in range(0, len(datagram), 1):
            part = decode_stats(datagram[:size])

            came, is_torn = size // length, size % length > 0
            assert part.sample == Sample(
                whole.ifindexes[:came], whole.rx_bytes[:came], whole.tx_bytes[:came]
            )
            assert part.malformed == is_torn


@pytest.mark.parametrize("kind", [2, NLMSG_DONE])
def test_the_end_of_a_dump_is_understood_wherever_it_is_cut_behind_its_error(kind: int) -> None:
    whole = struct.pack("=IHHIIi", 64, kind, 2, 0, 0, -errno.EBUSY).ljust(64, b"?")

    parts = [decode_stats(whole[:size]) for size in range(20, 65)]
    torn = decode_stats(whole[:19])

    assert parts == [StatsPart(Sample([], [], []), is_last=True, error=errno.EBUSY)] * 45
    assert torn == StatsPart(Sample([], [], []), malformed=1)


@given(st.binary(max_size=2048))
def test_any_bytes_at_all_are_survived(datagram: bytes) -> None:
    part = decode_stats(datagram)

    assert counters_stand_in(datagram, part)


@given(st.data())
def test_equal_messages_of_any_shape_read_alike_by_columns_and_one_by_one(
    data: st.DataObject,
) -> None:
    # A newer kernel may have more counters; an older one had fewer.
    extra = 8 * data.draw(st.integers(0, 40))
    rows = data.draw(
        st.lists(
            st.tuples(st.integers(1, 2**31 - 1), *[st.integers(0, 2**64 - 1)] * 2),
            min_size=1,
            max_size=9,
        )
    )
    is_interrupted = data.draw(st.booleans())
    flags = NLM_F_MULTI | (NLM_F_DUMP_INTR if is_interrupted else 0)
    datagram = b"".join(stats(*row, extra=extra, flags=flags) for row in rows)

    part = decode_stats(datagram)
    with_end = decode_stats(datagram + DONE)

    columns = [list(column) for column in zip(*rows, strict=True)]
    expected = StatsPart(Sample(*columns), is_interrupted=is_interrupted)
    assert part == expected
    assert with_end == dataclasses.replace(expected, is_last=True)


@pytest.mark.kernel
@settings(max_examples=1000)
@given(st.data())
def test_recorded_datagrams_with_flipped_bytes_read_alike_by_columns_and_one_by_one(
    recorded: list[bytes], data: st.DataObject
) -> None:
    first = data.draw(st.sampled_from([each for each in recorded if len(each) >= 232]))
    begin = 232 * data.draw(st.integers(0, len(first) // 232 - 1))
    datagram = bytearray(first[begin : begin + 232 * data.draw(st.integers(1, 5))])
    # Most of a message are counters that nobody reads, so every other flip is of a header.
    headers = st.builds(
        lambda number, offset: 232 * number + offset,
        st.integers(0, len(datagram) // 232 - 1),
        st.integers(0, 31),
    )
    positions = st.one_of(headers, st.integers(0, len(datagram) - 1))
    for position in data.draw(st.lists(positions, max_size=4)):
        datagram[position] ^= data.draw(st.integers(1, 255))
    del datagram[len(datagram) - data.draw(st.one_of(st.just(0), st.integers(0, 300))) :]

    part = decode_stats(bytes(datagram))

    assert part == stats_message._one_by_one(bytes(datagram))
    assert counters_stand_in(bytes(datagram), part)


def stats(ifindex: int, rx_bytes: int, tx_bytes: int, *, extra: int, flags: int) -> bytes:
    """Build an RTM_NEWSTATS with *extra* bytes of counters behind those we read."""
    counters = struct.pack("=16xQQ", rx_bytes, tx_bytes).ljust(32 + extra, b"\x2a")
    attribute = struct.pack("=HH", 4 + len(counters), 1) + counters
    length = 28 + len(attribute)
    head = struct.pack("=IHHIIB3xII", length, RTM_NEWSTATS, flags, 7, 9, 0, ifindex, 1)
    return head + attribute


def by_pyroute2(datagrams: bytes) -> Sample:
    """Decode every RTM_NEWSTATS with pyroute2's generic decoder."""
    sample = Sample([], [], [])
    for kind, message in messages(datagrams):
        if kind == RTM_NEWSTATS:
            decoded = ifstatsmsg(message)
            decoded.decode()
            counters = decoded.get_attr("IFLA_STATS_LINK_64")
            sample.ifindexes.append(decoded["ifindex"])
            sample.rx_bytes.append(counters["rx_bytes"])
            sample.tx_bytes.append(counters["tx_bytes"])
    return sample


def joined(parts: list[StatsPart]) -> Sample:
    return Sample(
        [each for part in parts for each in part.sample.ifindexes],
        [each for part in parts for each in part.sample.rx_bytes],
        [each for part in parts for each in part.sample.tx_bytes],
    )


def counters_stand_in(datagram: bytes, part: StatsPart) -> bool:
    """Tell whether all counters of *part* were received."""
    return all(
        struct.pack("=QQ", rx, tx) in datagram
        for rx, tx in zip(part.sample.rx_bytes, part.sample.tx_bytes, strict=True)
    )

"""The reader's sockets on a real kernel: what code inside it can get out of them, and what not.

Whatever must not arrive is shown to arrive at a socket without a filter.
"""

import contextlib
import ctypes
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Namespace
from tests.lab import TunSession, add_link, entered, messages, queue_link_events, route_socket
from trafficd.errors import SandboxError
from trafficd.kernel.sockets import open_link_sockets
from trafficd.sandbox.socket_filter import (
    ANSWERS,
    EVENTS,
    IP_ADDRESSED_TYPES,
    KINDS,
    SO_ATTACH_FILTER,
    SO_DETACH_FILTER,
    SO_LOCK_FILTER,
    Instruction,
    Program,
    attach,
    disassemble,
    installed,
    is_locked,
)

pytestmark = pytest.mark.kernel

T = TypeVar("T")

# linux/netlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_DUMP_FILTERED, NLM_F_DUMP = 0x1, 0x2, 0x20, 0x300
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NETLINK_EXT_ACK = 270, 1, 11
# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
RTM_NEWRULE, RTM_GETRULE = 32, 34
RTM_GETQDISC, RTM_GETADDRLABEL = 38, 74
RTM_GETNETCONF = 82
RTM_NEWSTATS, RTM_GETSTATS = 92, 94
RTNLGRP_LINK, MOST_GROUPS = 1, 40
AF_BRIDGE = 7
# linux/if_link.h
IFLA_IFNAME, IFLA_WIRELESS, IFLA_LINKINFO, IFLA_IFALIAS, IFLA_STATS64 = 3, 11, 18, 20, 23
IFLA_EXT_MASK, IFLA_PROP_LIST, IFLA_ALT_IFNAME = 29, 52, 53
RTEXT_FILTER_SKIP_STATS = 8
FORBIDDEN = (IFLA_IFALIAS, 22, 24, 25, IFLA_PROP_LIST)  # 22, 24, 25: virtual machines' addresses
INFO_KIND, INFO_DATA, INFO_SLAVE_DATA, BR_ROOT_PORT = 1, 2, 5, 12
# What a message holds up to tx_bytes: packets received and sent, bytes received and sent.
COUNTED_BYTES = 4 + 32

ALIAS, ALTNAME = b"CANARY-ALIAS", b"canary-altname"
PEER = ipaddress.ip_address("203.0.113.77").packed
OWN = ipaddress.ip_address("192.0.2.99").packed
NEIGHBOUR = bytes.fromhex("02ca0a17cafe")

LETS_ALL_PASS = (Instruction(0x06, 0, 0, 0xFFFFFFFF),)


@dataclass(frozen=True)
class Sockets:
    """The reader's two sockets, and the same without a filter."""

    events: socket.socket
    answers: socket.socket
    all_events: socket.socket
    all_answers: socket.socket


@contextlib.contextmanager
def opened(namespace: Namespace) -> Iterator[Sockets]:
    with contextlib.ExitStack() as ladder:
        with entered(namespace.name):
            controls = [ladder.enter_context(route_socket()) for _ in range(2)]
        controls[0].bind((0, RTNLGRP_LINK))
        controls[1].bind((0, 0))
        # The last to join is the first to be told, the worst place for who would alter a message.
        sockets = open_link_sockets(namespace.name)
        ladder.enter_context(sockets.events)
        ladder.enter_context(sockets.dumps)
        yield Sockets(sockets.events, sockets.dumps, *controls)


def queued(netlink: socket.socket) -> list[bytes]:
    """Return all there is: the kernel answers and announces before it returns."""
    found = []
    netlink.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(netlink.recv(1 << 18))
    return found


def asked(netlink: socket.socket, request: bytes) -> list[bytes]:
    """Return all that *netlink* receives for *request*."""
    netlink.sendto(request, (0, 0))
    return queued(netlink)


def request(kind: int, body: bytes, *, is_dump: bool = True) -> bytes:
    flags = NLM_F_REQUEST | (NLM_F_DUMP if is_dump else 0)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 7, 0) + body


def attribute(kind: int, content: bytes, *, told: int | None = None) -> bytes:
    """Build a struct nlattr that tells a wrong length if one is *told*."""
    length = 4 + len(content) if told is None else told
    return struct.pack("=HH", length, kind) + content + b"\0" * (-len(content) % 4)


def link_body(*attributes: bytes, ifindex: int = 0, family: int = 0, link_type: int = 0) -> bytes:
    return struct.pack("=BxHiII", family, link_type, ifindex, 0, 0) + b"".join(attributes)


def one_link(*attributes: bytes, ifindex: int = 0) -> bytes:
    return request(RTM_GETLINK, link_body(*attributes, ifindex=ifindex), is_dump=False)


def stats_body(mask: int = 1, ifindex: int = 0) -> bytes:
    return struct.pack("=B3xII", 0, ifindex, mask)


def kinds(datagrams: list[bytes]) -> set[int]:
    return {struct.unpack_from("=H", each, 4)[0] for each in datagrams}


def place(datagram: bytes, wanted: int) -> range:
    """Return where the attribute *wanted* of a link message stands; nowhere is empty."""
    offset = 32
    while offset < len(datagram):
        length, kind = struct.unpack_from("=HH", datagram, offset)
        if kind == wanted:
            return range(offset, offset + length)
        offset += (length + 3) // 4 * 4
    return range(0)


def ifindex_of(namespace: Namespace, name: str) -> int:
    with entered(namespace.name):
        return socket.if_nametoindex(name)


# ---- events ----


def test_the_events_of_sessions_arrive_whole(namespace: Namespace) -> None:
    with opened(namespace) as sockets:
        with TunSession(namespace.name, "tun0", rx_bytes=4321):
            namespace.ip("link", "set", "tun0", "mtu", "1400")
        namespace.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        namespace.ip("link", "add", "br0", "type", "bridge")
        namespace.ip("link", "del", "veth0")
        arrived, sent = queued(sockets.events), queued(sockets.all_events)

    assert arrived == sent
    assert kinds(arrived) == {RTM_NEWLINK, RTM_DELLINK}


def test_what_the_reader_does_not_get_comes_whole_to_every_other_program(
    namespace: Namespace,
) -> None:
    with opened(namespace) as sockets:
        with entered(namespace.name):
            later = route_socket()
        with later:
            later.bind((0, RTNLGRP_LINK))
            with TunSession(namespace.name, "tun0"):
                namespace.ip("link", "set", "tun0", "alias", ALIAS.decode())
            earlier_got, later_got = queued(sockets.all_events), queued(later)
        namespace.ip("link", "add", "br0", "type", "bridge")
        earlier_got_alone = queued(sockets.all_events)

    assert earlier_got == later_got
    for datagram in (*earlier_got, *earlier_got_alone):
        assert len(datagram) == struct.unpack_from("=I", datagram)[0]


def test_other_programs_lose_nothing_when_the_reader_does_not_read(namespace: Namespace) -> None:
    with opened(namespace) as sockets:
        sockets.events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        queue_link_events(namespace.name, 30)
        others = queued(sockets.all_events)
        ours = queued(sockets.events)

    assert len(ours) < len(others) == 30
    assert {len(each) - struct.unpack_from("=I", each)[0] for each in others} == {0}


def test_an_alias_hides_the_events_of_a_link_until_it_is_taken_off(namespace: Namespace) -> None:
    with opened(namespace) as sockets, TunSession(namespace.name, "tun0"):
        queued(sockets.events)
        namespace.ip("link", "set", "tun0", "alias", ALIAS.decode())
        with_alias, control = queued(sockets.events), queued(sockets.all_events)
        namespace.ip("link", "set", "tun0", "alias", "")
        without = queued(sockets.events)

    assert with_alias == []
    assert ALIAS in b"".join(control)
    assert without
    assert ALIAS not in b"".join(without)


def test_an_alternative_name_hides_the_events_of_a_link(namespace: Namespace) -> None:
    with opened(namespace) as sockets, TunSession(namespace.name, "tun0"):
        queued(sockets.events)
        namespace.ip("link", "property", "add", "dev", "tun0", "altname", ALTNAME.decode())
        namespace.ip("link", "set", "tun0", "mtu", "1400")
        arrived, sent = queued(sockets.events), queued(sockets.all_events)

    assert arrived == []
    assert ALTNAME in sent[-1]


@pytest.mark.parametrize(
    "kind",
    [
        ("vxlan", "id", "7", "dstport", "4789", "remote", "203.0.113.77"),
        ("gre", "local", "192.0.2.99", "remote", "203.0.113.77"),
        ("gretap", "local", "192.0.2.99", "remote", "203.0.113.77"),
        ("ipip", "local", "192.0.2.99", "remote", "203.0.113.77"),
        ("sit", "local", "192.0.2.99", "remote", "203.0.113.77"),
        ("geneve", "id", "7", "remote", "203.0.113.77"),
    ],
    ids=lambda kind: kind[0],
)
def test_the_peer_of_a_tunnel_does_not_arrive(namespace: Namespace, kind: tuple[str, ...]) -> None:
    with opened(namespace) as sockets:
        add_link(namespace.name, "peer0", "type", *kind)
        events, all_events = queued(sockets.events), queued(sockets.all_events)
        asking = one_link(ifindex=ifindex_of(namespace, "peer0"))
        answers = asked(sockets.answers, asking), asked(sockets.events, asking)
        control = asked(sockets.all_answers, asking)

    assert PEER in b"".join(all_events)
    assert PEER in b"".join(control)
    assert PEER not in b"".join(events)
    (answer,), through_the_other = answers
    assert b"peer0\0" in answer
    assert PEER not in answer
    assert OWN not in answer
    assert through_the_other == []


@pytest.mark.parametrize(
    ("kind", "settings_of_kind"),
    [("tun", ()), ("ovpn", ()), ("vlan", ("id", "7")), ("xfrm", ("dev", "lo", "if_id", "7"))],
)
def test_the_events_of_kinds_with_harmless_settings_arrive(
    namespace: Namespace, kind: str, settings_of_kind: tuple[str, ...]
) -> None:
    namespace.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    with opened(namespace) as sockets:
        if kind == "tun":
            TunSession(namespace.name, "link0").close()
        else:
            below = ("link", "veth0", "name") if kind == "vlan" else ()
            add_link(namespace.name, *below, "link0", "type", kind, *settings_of_kind)
        arrived, sent = queued(sockets.events), queued(sockets.all_events)

    assert any(b"link0\0" in each and place(each, IFLA_LINKINFO) for each in sent)
    assert arrived == sent


def test_a_port_names_its_bridge_and_does_not_arrive(namespace: Namespace) -> None:
    namespace.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    namespace.ip("link", "add", "br0", "type", "bridge")
    with opened(namespace) as sockets:
        namespace.ip("link", "set", "veth0", "master", "br0")
        queued(sockets.events)
        queued(sockets.all_events)
        namespace.ip("link", "set", "veth0", "up")
        arrived, sent = queued(sockets.events), queued(sockets.all_events)

    # The bridge itself tells of the port in its own family, and that does not arrive either.
    assert {each[16] for each in sent} == {0, AF_BRIDGE}
    assert not any(b"veth0\0" in each for each in arrived)
    assert any(b"veth0\0" in each for each in sent)


@pytest.mark.parametrize("which", ["events", "answers"])
def test_whatever_group_is_joined_only_links_arrive(namespace: Namespace, which: str) -> None:
    namespace.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    with opened(namespace) as sockets:
        filtered: socket.socket = getattr(sockets, which)
        for netlink in (filtered, sockets.all_answers):
            for group in range(1, MOST_GROUPS):
                # A kernel knows some thirty of them.
                with contextlib.suppress(OSError):
                    netlink.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        namespace.ip("link", "set", "veth0", "up")
        namespace.ip("addr", "add", "192.0.2.99/24", "dev", "veth0")
        namespace.ip("neigh", "add", "203.0.113.77", "lladdr", NEIGHBOUR.hex(":"), "dev", "veth0")
        namespace.ip("route", "add", "203.0.113.0/24", "dev", "veth0", "src", "192.0.2.99")
        namespace.ip("rule", "add", "from", "203.0.113.77", "table", "77")
        namespace.ip("token", "set", "::77", "dev", "veth0")
        namespace.ip("link", "set", "veth0", "alias", ALIAS.decode())
        arrived, sent = queued(filtered), queued(sockets.all_answers)

    everything = b"".join(sent)
    for canary in (OWN, PEER, NEIGHBOUR, ALIAS):
        assert canary in everything
        assert canary not in b"".join(arrived)
    others = {RTM_NEWADDR, RTM_NEWNEIGH, RTM_NEWROUTE, RTM_NEWRULE}
    assert others < kinds(sent)
    assert socket.AF_INET6 in {each[16] for each in sent if kinds([each]) == {RTM_NEWLINK}}
    assert arrived
    assert kinds(arrived) == {RTM_NEWLINK}
    assert {each[16] for each in arrived} == {socket.AF_UNSPEC}


# ---- answers ----


def test_an_answer_about_a_link_is_cut_behind_its_bytes(namespace: Namespace) -> None:
    with opened(namespace) as sockets, TunSession(namespace.name, "tun0", rx_bytes=4321):
        namespace.ip("link", "property", "add", "dev", "tun0", "altname", ALTNAME.decode())
        asking = one_link(ifindex=ifindex_of(namespace, "tun0"))
        (arrived,), (whole,) = asked(sockets.answers, asking), asked(sockets.all_answers, asking)

    end = place(whole, IFLA_STATS64).start + COUNTED_BYTES
    assert arrived[16:] == whole[16:end]
    assert struct.unpack("=QQ", arrived[-16:]) == (4321, 0)
    assert struct.unpack_from("=I", arrived)[0] == len(whole) > end
    assert ALTNAME in whole


def test_an_answer_about_a_link_with_an_alias_is_cut_behind_its_name(namespace: Namespace) -> None:
    with opened(namespace) as sockets, TunSession(namespace.name, "tun0"):
        namespace.ip("link", "set", "tun0", "alias", ALIAS.decode())
        asking = one_link(ifindex=ifindex_of(namespace, "tun0"))
        (arrived,), (whole,) = asked(sockets.answers, asking), asked(sockets.all_answers, asking)

    assert arrived[16:] == whole[16 : place(whole, IFLA_IFNAME).stop]
    assert arrived.endswith(b"tun0\0")
    assert ALIAS in whole


def test_asked_without_counters_the_kernel_says_only_the_name(namespace: Namespace) -> None:
    no_counters = attribute(IFLA_EXT_MASK, struct.pack("=I", RTEXT_FILTER_SKIP_STATS))
    with opened(namespace) as sockets, TunSession(namespace.name, "t"):
        namespace.ip("link", "property", "add", "dev", "t", "altname", ALTNAME.decode())
        asking = one_link(no_counters, ifindex=ifindex_of(namespace, "t"))
        (arrived,), (whole,) = asked(sockets.answers, asking), asked(sockets.all_answers, asking)

    if place(whole, IFLA_STATS64):
        pytest.skip("this kernel does not leave the counters out")
    assert arrived[32:] == struct.pack("=HH", 6, IFLA_IFNAME) + b"t\0"
    assert ALTNAME in whole


def test_a_guessed_alternative_name_finds_its_link_and_no_other_alternative_name(
    namespace: Namespace,
) -> None:
    with opened(namespace) as sockets, TunSession(namespace.name, "tun0"):
        for name in (ALTNAME.decode(), "guessed"):
            namespace.ip("link", "property", "add", "dev", "tun0", "altname", name)
        asking = one_link(attribute(IFLA_ALT_IFNAME, b"guessed\0"))
        (arrived,), (whole,) = asked(sockets.answers, asking), asked(sockets.all_answers, asking)

    assert b"tun0\0" in arrived
    assert ALTNAME not in arrived
    assert ALTNAME in whole


@pytest.mark.parametrize(
    "asking",
    [one_link(ifindex=4242), request(RTM_GETSTATS, stats_body(ifindex=4242), is_dump=False)],
    ids=["GETLINK", "GETSTATS"],
)
def test_a_refusal_of_our_own_requests_arrives_without_words(
    namespace: Namespace, asking: bytes
) -> None:
    with opened(namespace) as sockets:
        (arrived,), (whole,) = asked(sockets.answers, asking), asked(sockets.all_answers, asking)
        through_the_other = asked(sockets.events, asking)

    assert len(whole) > len(arrived) == 36
    assert struct.unpack_from("=Hxxxxxxxxxxi", arrived, 4) == (NLMSG_ERROR, -19)  # ENODEV
    assert through_the_other == []


def test_the_error_of_a_dump_arrives_without_words(namespace: Namespace) -> None:
    asking = request(RTM_GETSTATS, stats_body(mask=0))
    with opened(namespace) as sockets:
        for netlink in (sockets.answers, sockets.all_answers):
            netlink.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        (arrived,), (whole,) = asked(sockets.answers, asking), asked(sockets.all_answers, asking)

    assert b"Filter mask must be set" in whole
    assert len(arrived) in (20, 36)
    assert struct.unpack_from("=i", arrived, 16) == (-22,)  # EINVAL


def test_a_dump_of_counters_arrives_whole_to_its_end(namespace: Namespace) -> None:
    namespace.run(
        "sh", "-c", "for n in $(seq 150); do echo link add a$n type veth; done | ip -batch -"
    )
    with opened(namespace) as sockets:
        asking = request(RTM_GETSTATS, stats_body())
        arrived, sent = asked(sockets.answers, asking), asked(sockets.all_answers, asking)
        through_the_other = asked(sockets.events, asking)

    # Behind the header, which has the port of who asked.
    contents = [
        [(kind, message[16:]) for each in answer for kind, message in messages(each)]
        for answer in (arrived, sent)
    ]
    assert contents[0] == contents[1]
    assert [kind for kind, _ in contents[0]] == [RTM_NEWSTATS] * 301 + [NLMSG_DONE]
    assert len(arrived) > 2
    assert through_the_other == []


@pytest.mark.parametrize(
    "asking",
    [
        request(RTM_GETADDR, struct.pack("=BBBBi", 0, 0, 0, 0, 0)),
        request(RTM_GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, *[0] * 8)),
        request(RTM_GETNEIGH, struct.pack("=BxxxiHBB", 0, 0, 0, 0, 0)),
        request(RTM_GETRULE, struct.pack("=BBBBBBBBI", socket.AF_INET, *[0] * 8)),
        request(RTM_GETLINK, link_body()),
        request(RTM_GETLINK, link_body(family=socket.AF_INET6)),
        request(RTM_GETLINK, link_body(family=AF_BRIDGE)),
        request(RTM_GETQDISC, struct.pack("=BxxxiIII", 0, 0, 0, 0, 0)),
        request(RTM_GETADDRLABEL, struct.pack("=BBBBII", socket.AF_INET6, 0, 0, 0, 0, 0)),
        request(RTM_GETNETCONF, struct.pack("=Bxxx", socket.AF_INET)),
        request(RTM_GETSTATS, stats_body(mask=0b11111)),
        request(RTM_GETSTATS, stats_body(mask=0b00010)),
    ],
    ids=[
        "addresses", "routes", "neighbours", "rules", "links", "links-ipv6", "links-bridge",
        "qdiscs", "labels", "netconf", "all-counters", "bridge-counters",
    ],
)  # fmt: skip
def test_nothing_of_any_other_dump_arrives(namespace: Namespace, asking: bytes) -> None:
    fill(namespace)
    for which in ("answers", "events"):
        with opened(namespace) as sockets:
            arrived = asked(getattr(sockets, which), asking)
            control = asked(sockets.all_answers, asking)

        assert max(kinds(control[:1])) > NLMSG_DONE
        # That there was an end may arrive; what was in it does not.
        assert kinds(arrived) <= {NLMSG_DONE}
        assert all(len(each) == 20 for each in arrived)


@pytest.mark.parametrize("which", ["answers", "events"])
def test_a_neighbour_that_is_there_and_one_that_is_not_look_the_same(
    namespace: Namespace, which: str
) -> None:
    fill(namespace)
    ifindex = ifindex_of(namespace, "veth0")
    lookups = [
        request(
            RTM_GETNEIGH,
            struct.pack("=BxxxiHBB", socket.AF_INET, ifindex, 0, 0, 0)
            + attribute(1, ipaddress.ip_address(address).packed),
            is_dump=False,
        )
        for address in ("203.0.113.77", "203.0.113.78")
    ]
    with opened(namespace) as sockets:
        arrived = [asked(getattr(sockets, which), lookup) for lookup in lookups]
        present, absent = (asked(sockets.all_answers, lookup) for lookup in lookups)
        answered_still = asked(sockets.answers, one_link(ifindex=1))

    assert kinds(present) == {RTM_NEWNEIGH}
    assert NEIGHBOUR in present[0]
    assert kinds(absent) == {NLMSG_ERROR}
    assert arrived == [[], []]
    assert len(answered_still) == 1


def test_a_route_lookup_says_nothing(namespace: Namespace) -> None:
    fill(namespace)
    lookup = request(
        RTM_GETROUTE,
        struct.pack("=BBBBBBBBI", socket.AF_INET, 32, *[0] * 7) + attribute(1, PEER),
        is_dump=False,
    )
    with opened(namespace) as sockets:
        arrived = asked(sockets.answers, lookup) + asked(sockets.events, lookup)
        control = asked(sockets.all_answers, lookup)

    assert kinds(control) == {RTM_NEWROUTE}
    assert OWN in control[0]
    assert arrived == []


def test_a_request_of_generic_netlink_says_nothing(namespace: Namespace) -> None:
    # CTRL_CMD_GETFAMILY of GENL_ID_CTRL (linux/genetlink.h), a number that is RTM_NEWLINK here.
    asking = request(16, struct.pack("=BBH", 3, 1, 0) + attribute(2, b"wireguard\0"), is_dump=False)
    with opened(namespace) as sockets:
        arrived = asked(sockets.answers, asking) + asked(sockets.events, asking)
        control = asked(sockets.all_answers, asking)

    assert kinds(control) == {NLMSG_ERROR}
    assert arrived == []


def fill(namespace: Namespace) -> None:
    """Give *namespace* something to hide in every table."""
    namespace.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    namespace.ip("link", "add", "br0", "type", "bridge")
    namespace.ip("link", "set", "veth1", "master", "br0")
    namespace.ip("link", "set", "veth0", "up")
    namespace.ip("link", "set", "veth1", "up")
    namespace.ip("link", "set", "br0", "up")
    namespace.ip("addr", "add", "192.0.2.99/24", "dev", "veth0")
    namespace.ip("neigh", "add", "203.0.113.77", "lladdr", NEIGHBOUR.hex(":"), "dev", "veth0")
    namespace.ip("route", "add", "203.0.113.0/24", "dev", "veth0", "src", "192.0.2.99")


# ---- on and off ----


@pytest.mark.parametrize("program", [EVENTS, ANSWERS], ids=["events", "answers"])
def test_a_locked_filter_stays_even_for_root(program: Program) -> None:
    with route_socket() as netlink:
        attach(netlink, program)

        for option, number in ((SO_DETACH_FILTER, 0), (SO_LOCK_FILTER, 0)):
            with pytest.raises(PermissionError):
                netlink.setsockopt(socket.SOL_SOCKET, option, number)
        for other in (LETS_ALL_PASS, program):
            with pytest.raises(PermissionError):
                put(netlink, other)

        assert (installed(netlink), is_locked(netlink)) == (program, True)


def test_attaching_again_changes_nothing_and_keeps_what_is_queued(namespace: Namespace) -> None:
    with opened(namespace) as sockets:
        TunSession(namespace.name, "tun0").close()
        attach(sockets.events, EVENTS)
        arrived, sent = queued(sockets.events), queued(sockets.all_events)

    assert arrived == sent
    assert len(arrived) >= 2


def test_what_was_queued_before_the_filter_is_thrown_away(namespace: Namespace) -> None:
    with opened(namespace) as sockets:
        with TunSession(namespace.name, "tun0"):
            namespace.ip("link", "set", "tun0", "alias", ALIAS.decode())
        attach(sockets.all_events, EVENTS)
        before = queued(sockets.all_events)
        TunSession(namespace.name, "tun1").close()
        after = queued(sockets.all_events)

    assert before == []
    assert after
    assert all(b"tun1\0" in each for each in after)


def test_a_queue_that_overran_before_the_filter_is_emptied_as_well(namespace: Namespace) -> None:
    with opened(namespace) as sockets:
        sockets.all_events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        queue_link_events(namespace.name, 30)
        attach(sockets.all_events, EVENTS)

        assert queued(sockets.all_events) == []


def test_a_filter_that_is_there_and_not_locked_is_locked() -> None:
    with route_socket() as netlink:
        put(netlink, EVENTS)
        attach(netlink, EVENTS)

        assert (installed(netlink), is_locked(netlink)) == (EVENTS, True)


def test_a_socket_with_another_filter_is_refused() -> None:
    with route_socket() as netlink:
        put(netlink, LETS_ALL_PASS)

        with pytest.raises(SandboxError, match="another one is attached: restart"):
            attach(netlink, EVENTS)

    with route_socket() as netlink:
        attach(netlink, ANSWERS)

        with pytest.raises(SandboxError, match="another one is attached: restart"):
            attach(netlink, EVENTS)


def test_a_socket_that_was_locked_without_a_filter_is_refused() -> None:
    with route_socket() as netlink:
        netlink.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)

        with pytest.raises(SandboxError, match="cannot be installed: Operation not permitted"):
            attach(netlink, EVENTS)


def test_what_is_no_socket_is_refused() -> None:
    closed = route_socket()
    closed.close()

    with pytest.raises(SandboxError, match="cannot be installed: Bad file descriptor"):
        attach(closed, EVENTS)


def test_a_kernel_that_takes_the_filter_and_forgets_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trafficd.sandbox.socket_filter.installed", lambda _: ())

    with route_socket() as netlink, pytest.raises(SandboxError, match="does not have it"):
        attach(netlink, EVENTS)


def test_a_socket_without_a_filter_has_none() -> None:
    with route_socket() as netlink:
        assert (installed(netlink), is_locked(netlink)) == ((), False)


def put(netlink: socket.socket, program: Program) -> None:
    """Attach *program* as anybody can."""
    code = b"".join(struct.pack("=HBBI", i.code, i.jt, i.jf, i.k) for i in program)
    held = ctypes.create_string_buffer(code)
    pointed = struct.pack("@HP", len(program), ctypes.addressof(held))
    netlink.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointed)


# ---- what the program says ----


def test_a_program_reads_as_bpf_is_written() -> None:
    program = (
        Instruction(0x28, 0, 0, 4),
        Instruction(0x15, 3, 7, 16),
        Instruction(0x45, 0, 1, 2),
        Instruction(0x25, 1, 0, 20),
        Instruction(0x20, 0, 0, 0xFFFFF00C),
        Instruction(0x20, 0, 0, 0xFFFFF010),
        Instruction(0x20, 0, 0, 24),
        Instruction(0x40, 0, 0, 4),
        Instruction(0x01, 0, 0, 23),
        Instruction(0x02, 0, 0, 0),
        Instruction(0x05, 0, 0, 9),
        Instruction(0x16, 0, 0, 0),
        Instruction(0x06, 0, 0, 20),
        Instruction(0xB1, 0, 0, 14),
    )

    lines = disassemble(program)

    assert lines == [
        "ld h[4]", "jeq #0x10, 3, 7", "jset #0x2, 0, 1", "jgt #0x14, 1, 0", "ld nlattr",
        "ld nlattr_nest", "ld w[24]", "ld w[x + 4]", "ldx #23", "st M[0]", "ja 9", "ret a",
        "ret #20", "0xb1 0 0 14",
    ]  # fmt: skip


@pytest.mark.parametrize("program", [EVENTS, ANSWERS], ids=["events", "answers"])
def test_every_line_of_ours_can_be_read(program: Program) -> None:
    assert not [line for line in disassemble(program) if line.startswith("0x")]


def test_the_program_for_events_lets_whole_messages_in_or_none() -> None:
    returns = {line for line in disassemble(EVENTS) if line.startswith("ret")}

    assert returns == {"ret #0", "ret #4294967295"}


# ---- kinds and types of links that this kernel may not have ----


def message_of(
    *attributes_after: bytes, kind: str = "", data: bytes | None = None, link_type: int = 65534
) -> bytes:
    """Build an RTM_NEWLINK of tun0 with counters and a kind."""
    parts = [attribute(INFO_KIND, kind.encode() + b"\0")] if kind else []
    parts += [] if data is None else [attribute(INFO_DATA, data)]
    info = [attribute(IFLA_LINKINFO, b"".join(parts))] if parts else []
    counters = attribute(IFLA_STATS64, bytes(200))
    body = link_body(
        attribute(IFLA_IFNAME, b"tun0\0"), counters, *info, *attributes_after, link_type=link_type
    )
    return struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, 0, 0, 0) + body


@pytest.mark.parametrize("kind", [*KINDS, ""])
def test_a_link_of_a_harmless_kind_passes(kind: str) -> None:
    message = message_of(kind=kind, data=attribute(1, PEER) if kind else None)

    assert let_through(message, EVENTS) == len(message)


@pytest.mark.parametrize("kind", ["vxlan", "wireguard", "a-kind-to-come"])
def test_a_link_of_any_kind_passes_while_it_has_no_settings(kind: str) -> None:
    bare, with_settings = message_of(kind=kind), message_of(kind=kind, data=attribute(1, PEER))

    assert let_through(bare, EVENTS) == len(bare)
    assert let_through(with_settings, EVENTS) is None


@pytest.mark.parametrize(
    "kind", [*(f"{kind}2" for kind in KINDS), *(kind[:-1] for kind in KINDS), "bridges", "brid"]
)
def test_a_kind_that_only_begins_like_a_harmless_one_does_not_pass(kind: str) -> None:
    assert let_through(message_of(kind=kind, data=attribute(1, PEER)), EVENTS) is None


@pytest.mark.parametrize("root_port", [bytes(2), b"\0\1", b"\1\0", b""])
def test_a_bridge_passes_while_it_is_the_root_itself(root_port: bytes) -> None:
    message = message_of(kind="bridge", data=attribute(BR_ROOT_PORT, root_port))

    assert let_through(message, EVENTS) == (len(message) if root_port == bytes(2) else None)


@pytest.mark.parametrize("link_type", IP_ADDRESSED_TYPES)
def test_a_link_whose_hardware_address_is_an_ip_address_says_no_more_than_its_name(
    link_type: int,
) -> None:
    message = message_of(link_type=link_type)

    assert let_through(message, EVENTS) is None
    assert let_through(message, ANSWERS) == 32 + 4 + len(b"tun0\0")


@pytest.mark.parametrize("forbidden", FORBIDDEN)
def test_a_message_with_what_may_name_somebody_does_not_pass(forbidden: int) -> None:
    assert let_through(message_of(attribute(forbidden, b"who")), EVENTS) is None


def test_a_wireless_event_which_names_the_access_point_does_not_pass() -> None:
    body = link_body(attribute(IFLA_IFNAME, b"w\0"), attribute(IFLA_WIRELESS, NEIGHBOUR))
    message = struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, 0, 0, 0) + body

    assert let_through(message, EVENTS) is None
    assert let_through(message, ANSWERS) == 32 + 4 + len(b"w\0")


# ---- the programs against their policy, on any bytes: a filter runs on every kind of socket ----


class Outside(Exception):  # noqa: N818 - how BPF ends a program that looks there, not an error
    """The message does not reach so far."""


@dataclass(frozen=True)
class Message:
    """Bytes as the policy sees them."""

    data: bytes

    def number(self, offset: int, size: int) -> int:
        if offset + size > len(self.data):
            raise Outside
        return int.from_bytes(self.data[offset : offset + size], sys.byteorder)

    def find(self, wanted: int, start: int = 32, end: int | None = None) -> int:
        """Return where an attribute begins, 0 for nowhere (lib/nlattr.c, nla_find)."""
        end = len(self.data) if end is None else end
        while end - start >= 4:
            length, kind = struct.unpack_from("=HH", self.data, start)
            if length < 4 or length > end - start:
                break
            if kind & 0x3FFF == wanted:
                return start
            start += (length + 3) // 4 * 4
        return 0

    def find_in(self, nest: int, wanted: int) -> int:
        """Return where an attribute begins in that at *nest*, 0 for nowhere (nla_find_nested)."""
        length = struct.unpack_from("=H", self.data, nest)[0]
        return self.find(wanted, nest + 4, nest + length)


def expected(data: bytes, program: Program) -> int | None:
    """Return how many bytes of *data* arrive, None if nothing does."""
    try:
        length = {EVENTS: let_in_of_events, ANSWERS: let_in_of_answers}[program](Message(data))
    except Outside:
        return None
    return min(length, len(data)) or None


def let_in_of_events(message: Message) -> int:
    if message.number(4, 2) not in (RTM_NEWLINK, RTM_DELLINK) or is_of_many_or_others(message):
        return 0
    if message.number(18, 2) in IP_ADDRESSED_TYPES:
        return 0
    if any(message.find(each) for each in FORBIDDEN) or not message.find(IFLA_STATS64):
        return 0
    info = message.find(IFLA_LINKINFO)
    if not info:
        return 1 << 32
    if message.find_in(info, INFO_SLAVE_DATA):
        return 0
    if not message.find_in(info, INFO_DATA):
        return 1 << 32
    named = message.find_in(info, INFO_KIND)
    if not named:
        return 0
    for kind in KINDS:
        if starts_with(message, named + 4, kind.encode() + b"\0"):
            return 1 << 32
    if starts_with(message, named + 4, b"bridge\0"):
        root_port = message.find_in(message.find_in(info, INFO_DATA), BR_ROOT_PORT)
        return 1 << 32 if root_port and message.number(root_port + 4, 2) == 0 else 0
    return 0


def starts_with(message: Message, offset: int, wanted: bytes) -> bool:
    # BPF loads four bytes first, of a shorter message as well.
    message.number(offset, 4)
    for place, letter in enumerate(wanted):
        if place == 4 and message.data[offset : offset + 4] != wanted[:4]:
            return False
        if place >= 4 and message.number(offset + place, 1) != letter:
            return False
    return message.data[offset : offset + len(wanted)] == wanted


def let_in_of_answers(message: Message) -> int:
    kind = message.number(4, 2)
    if kind == RTM_NEWSTATS:
        return 1 << 32 if message.number(24, 4) == 1 else 0
    if kind == NLMSG_DONE:
        return 0 if message.number(6, 2) & NLM_F_DUMP_FILTERED else 20
    if kind == NLMSG_ERROR:
        return 36 if message.number(24, 2) in (RTM_GETSTATS, RTM_GETLINK) else 0
    if kind != RTM_NEWLINK or is_of_many_or_others(message):
        return 0
    counters = message.find(IFLA_STATS64)
    has_address = message.number(18, 2) in IP_ADDRESSED_TYPES
    if counters and not has_address and not message.find(IFLA_IFALIAS):
        return counters + COUNTED_BYTES
    if message.number(34, 2) != IFLA_IFNAME:
        return 0
    # No name is as long as 256 bytes, so the filter looks at the low byte of its length only.
    length = message.number(32, 2) & 0xFF
    return 32 + length if length <= 20 else 0


def is_of_many_or_others(message: Message) -> bool:
    return bool(message.number(6, 2) & NLM_F_MULTI) or message.number(16, 1) != 0


def mostly(usual: T, *others: T) -> st.SearchStrategy[T]:
    """Draw one of *others* now and then: a message with one fault says more than one with five."""
    return st.integers(0, 11).flatmap(lambda n: st.just(usual) if n else st.sampled_from(others))


@st.composite
def attributes(draw: st.DrawFn, *chosen: int) -> bytes:
    content = draw(st.binary(max_size=24))
    told = draw(mostly(None, 0, 3, 4, 60, 0xFFFF))
    return attribute(draw(st.sampled_from(chosen)), content, told=told)


@st.composite
def link_infos(draw: st.DrawFn) -> bytes:
    names = [*KINDS, *["bridge"] * 3, "vxlan", "tunnel", "bridgehead", "brid", "bridgf", "ppp0", ""]
    kind = draw(st.sampled_from(names)).encode() + draw(mostly(b"\0", b"", b"\0\0"))
    root_port = attribute(draw(mostly(BR_ROOT_PORT, 13)), draw(mostly(bytes(2), b"\0\1", b"\1\0")))
    parts = [
        *draw(mostly([attribute(INFO_KIND, kind)], [])),
        *draw(mostly([attribute(INFO_DATA, draw(mostly(root_port, b"", b"\0")))], [])),
        *draw(mostly([], [attribute(INFO_SLAVE_DATA, b"")], [attribute(3, b"\0")])),
    ]
    parts = draw(mostly(parts, parts[::-1]))
    return attribute(draw(mostly(IFLA_LINKINFO, IFLA_LINKINFO | 0x8000)), b"".join(parts))


@st.composite
def likely_messages(draw: st.DrawFn) -> bytes:
    """Messages that are right but for some lengths, types, orders and ends."""
    kind = draw(st.sampled_from([16] * 8 + [17] * 3 + [2, 2, 3, 92, 92, 20, 28, 0x1000]))
    flags = draw(mostly(0, NLM_F_MULTI, NLM_F_DUMP_FILTERED, 1, 0x12, 0x22, 0x100, 0x200, 0x2000))
    rare = (*FORBIDDEN, IFLA_WIRELESS, 5, 26, 0x8000 | IFLA_STATS64)
    counters = draw(mostly(200, 192, 40, 32, 8))
    parts = [
        draw(mostly(attribute(IFLA_IFNAME, draw(st.binary(max_size=18))), b"")),
        *draw(st.lists(attributes(1, 2, 4, 13), max_size=2)),
        *(draw(attributes(*rare)) for _ in range(draw(mostly(0, 1)))),
        draw(mostly(attribute(IFLA_STATS64, bytes(counters)), b"")),
        *draw(st.lists(link_infos(), max_size=1)),
        *(draw(attributes(*rare)) for _ in range(draw(mostly(0, 1)))),
    ]
    parts = draw(mostly(parts, parts[::-1]))
    body = link_body(
        *parts,
        family=draw(mostly(0, AF_BRIDGE, 10, 1)),
        link_type=draw(mostly(65534, 1, *IP_ADDRESSED_TYPES)),
    )
    message = struct.pack("=IHHII", 16 + len(body), kind, flags, 7, 7) + body
    if kind in (2, 92):
        inside = draw(st.sampled_from([1, 2, 3, 0x01000000, RTM_GETSTATS, RTM_GETLINK, 30]))
        message = message[:24] + struct.pack("=I", inside) + message[28:]
    return message[: draw(mostly(len(message), draw(st.integers(1, 80)), len(message) - 4))]


def let_through(data: bytes, program: Program) -> int | None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        attach(there, program)
        here.send(data)
        try:
            arrived = there.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
    assert data.startswith(arrived)
    return len(arrived)


@pytest.mark.parametrize("program", [EVENTS, ANSWERS], ids=["events", "answers"])
@settings(max_examples=1500)
@given(data=likely_messages())
def test_the_kernel_decides_on_likely_messages_as_the_policy_says(
    program: Program, data: bytes
) -> None:
    assert let_through(data, program) == expected(data, program)


@pytest.mark.parametrize("program", [EVENTS, ANSWERS], ids=["events", "answers"])
@settings(max_examples=300)
@given(data=st.binary(min_size=1, max_size=300))
def test_the_kernel_decides_on_any_bytes_as_the_policy_says(program: Program, data: bytes) -> None:
    assert let_through(data, program) == expected(data, program)

"""What a half and its agent have open: each thing more, less or otherwise turns its own line."""

import socket
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.audit.known import (
    AGENT,
    ELSEWHERE,
    EXPORTER,
    HERE,
    INIT,
    READER,
    RELEASES,
    RELOAD,
    SETTINGS,
    TO_EXPORTER,
    TO_MANAGER,
    agent,
    but_pass,
    descriptor,
    exporter,
    netlink,
    node,
    reader,
    service,
    unix,
    verdict,
)
from tests.audit.programs import locked_down
from trafficd.audit.checks.descriptors import descriptor_findings
from trafficd.audit.checks.sockets import agent_finding
from trafficd.audit.facts import Configuration, Descriptor, Node, Process, Socket, SocketFile
from trafficd.audit.finding import Finding, Unread, Verdict
from trafficd.sandbox.apply import Half, WayOut

UNREAD = Unread("no such file")
INET = Socket(socket.AF_INET, socket.SOCK_STREAM, 6, port=51000)
ROGUE = Descriptor(30, "/var/lib/names", is_writable=True)
OF_ROOT = SocketFile(0o600, 0, 0)


def judged(
    process: Process, of: Node | None = None, settings: Configuration = SETTINGS
) -> list[Finding]:
    if of is None:
        of = node(process) if process.half is Half.READER else node(exporter=process)
    return [*descriptor_findings(process, of, settings)]


def test_halves_of_an_agent_and_two_services_pass() -> None:
    services = node(service(reader()), service(exporter()))

    assert but_pass(judged(reader())) == set()
    assert but_pass(judged(exporter())) == set()
    assert but_pass(judged(services.reader, services)) == set()
    assert but_pass(judged(services.exporter, services)) == set()
    assert agent_finding(agent(), node()).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("process", "failing"),
    [
        (reader(ROGUE), {"reader.descriptors", "reader.no_file_written"}),
        (reader(replace(ROGUE, is_writable=False)), {"reader.descriptors"}),
        (reader(Descriptor(30, "pipe:[1]", True)), {"reader.descriptors"}),
        (reader(descriptor(30, INET)), {"reader.descriptors"}),
        (reader(descriptor(30, Socket(socket.AF_PACKET, 3, 0))), {"reader.descriptors"}),
        # A unix socket of somebody else's: a log, a bus.
        (reader(descriptor(30, unix(99, socket.SOCK_DGRAM))), {"reader.descriptors"}),
        (reader(descriptor(30, unix(AGENT, socket.SOCK_STREAM))), {"reader.descriptors"}),
        # One more than there are of the kind.
        (reader(descriptor(30, unix(AGENT))), {"reader.descriptors"}),
        (exporter(descriptor(30, unix(AGENT))), {"exporter.descriptors"}),
        # A further socket with the right filter is one too many.
        (reader(descriptor(30, netlink())), {"reader.descriptors", "reader.groups"}),
        (
            reader(descriptor(30, replace(netlink(), protocol=socket.NETLINK_FIREWALL))),
            {"reader.descriptors", "reader.groups"},
        ),
        (exporter(descriptor(30, netlink())), {"exporter.descriptors"}),
        (exporter(descriptor(30, INET)), {"exporter.listeners"}),
        (
            exporter(descriptor(30, replace(INET, kind=socket.SOCK_DGRAM, port=9787))),
            {"exporter.descriptors"},
        ),
    ],
)
def test_what_is_open_and_not_expected_fails(process: Process, failing: set[str]) -> None:
    assert but_pass(judged(process)) == failing


@pytest.mark.parametrize(
    "sock",
    [
        # To a log, by the same kind of socket as to the manager; and to the manager, but hearing.
        replace(TO_MANAGER, peer_address="/dev/log"),
        replace(TO_MANAGER, is_deaf=False),
        # Bound to nothing, so that nobody could send to it; or connected, so that it could.
        unix(0, socket.SOCK_DGRAM),
        unix(7, socket.SOCK_DGRAM, address=RELOAD),
    ],
    ids=["a log", "hears the manager", "unbound", "connected"],
)
def test_a_unix_socket_of_a_service_that_is_another_fails(sock: Socket) -> None:
    for half in (reader(), exporter()):
        process = service(half, descriptor(30, sock))
        of = node(process) if half.half is Half.READER else node(service(reader()), process)

        assert but_pass(judged(process, of)) == {f"{half.half}.descriptors"}


def test_a_service_has_no_socket_from_an_agent() -> None:
    more = descriptor(30, unix(INIT, is_deaf=True))
    of_reader, of_exporter = service(reader(), more), service(exporter(), more)

    assert but_pass(judged(of_reader)) == {"reader.descriptors", "reader.connections"}
    assert but_pass(judged(of_exporter, node(service(reader()), of_exporter))) == {
        "exporter.descriptors"
    }


def test_a_socket_to_a_manager_that_nobody_named_fails() -> None:
    process = replace(service(reader()), notify_address="")

    assert but_pass(judged(process)) == {"reader.descriptors"}


def test_standard_error_may_be_anything_and_is_named() -> None:
    process = reader()
    assert not isinstance(process.descriptors, Unread)
    log = Descriptor(2, "/var/log/trafficd", is_writable=True)
    others = tuple(each for each in process.descriptors if each.number != 2)

    findings = judged(replace(process, descriptors=(*others, log)))

    assert but_pass(findings) == set()
    assert any("is /var/log/trafficd" in each.evidence for each in findings)


def test_a_socket_that_cannot_be_asked_leaves_all_of_them_unknown() -> None:
    secret = descriptor(30, UNREAD)

    findings = judged(reader(secret))

    assert but_pass(findings) == {
        "reader.descriptors", "reader.reload", "reader.filters", "reader.groups", "reader.queues",
        "reader.handoff", "reader.connections",
    }  # fmt: skip
    assert verdict(findings, "reader.descriptors") is Verdict.UNKNOWN
    assert agent_finding(agent(secret), node()).verdict is Verdict.UNKNOWN


def test_descriptors_that_cannot_be_listed_are_unknown() -> None:
    for process in (reader(), exporter()):
        findings = judged(replace(process, descriptors=UNREAD))

        assert {each.verdict for each in findings} == {Verdict.UNKNOWN}


def without(process: Process, *targets: int) -> tuple[Descriptor, ...]:
    assert not isinstance(process.descriptors, Unread)
    return tuple(each for each in process.descriptors if each.number not in targets)


def with_netlink(*sockets: Socket) -> Process:
    """Return a reader with these netlink sockets and no others."""
    more = (descriptor(number, each) for number, each in enumerate(sockets, start=40))
    return replace(reader(), descriptors=(*without(reader(), 100, 101), *more))


def changed(sock: Socket, **fields: object) -> Socket:
    assert sock.netlink is not None
    return replace(sock, netlink=replace(sock.netlink, **fields))  # type: ignore[arg-type]  # a few


@pytest.mark.parametrize(
    ("sockets", "failing"),
    [
        ((netlink((1,)), changed(netlink(), program=())), {"reader.filters"}),
        ((netlink((1,)), changed(netlink(), program=locked_down())), {"reader.filters"}),
        ((netlink((1,)), changed(netlink(), program=UNREAD)), {"reader.filters"}),
        ((netlink((1,)), changed(netlink(), is_locked=False)), {"reader.filters"}),
        ((netlink((1, 3)), netlink()), {"reader.groups"}),
        ((netlink((1,)), netlink((1,))), {"reader.groups"}),
        ((netlink((3,)), netlink()), {"reader.groups"}),
        # Of a namespace that the configuration does not name.
        ((netlink((1,), ELSEWHERE), netlink()), {"reader.groups"}),
        ((netlink((1,), ELSEWHERE), netlink((), ELSEWHERE)), {"reader.groups"}),
        ((netlink((1,)), changed(netlink(), network=UNREAD)), {"reader.groups"}),
        ((), {"reader.filters", "reader.groups"}),
    ],
)
def test_filters_and_groups_are_exactly_those(
    sockets: tuple[Socket, ...], failing: set[str]
) -> None:
    assert but_pass(judged(with_netlink(*sockets))) == failing


def test_each_namespace_has_two_sockets() -> None:
    two = with_netlink(netlink((1,)), netlink(), netlink((1,), 7), netlink((), 7))
    both = node(two, networks={"host": HERE, "customers": 7})
    settings = replace(SETTINGS, namespaces=1)

    assert but_pass(judged(two, both, settings)) == set()
    assert but_pass(judged(two)) == {"reader.descriptors", "reader.groups"}
    unread = node(two, networks={"host": HERE, "customers": UNREAD})
    assert verdict(judged(two, unread, settings), "reader.groups") is Verdict.UNKNOWN


def test_that_the_reader_lives_in_a_namespace_of_its_own_is_told() -> None:
    told = [each.evidence for each in judged(service(reader())) if each.identity == "reader.groups"]

    assert f"another namespace ({ELSEWHERE})" in told[0]


@pytest.mark.parametrize("stranger", [INIT, AGENT, 4711])
def test_who_else_has_a_netlink_socket_of_the_readers_open_fails(stranger: int) -> None:
    for process in (reader(), service(reader())):
        held = {"socket:[101]": frozenset((READER, stranger))}
        findings = judged(process, node(process, holders=held))
        # Process 1 may, by its socket unit; an agent only where it is this reader's.
        is_keeper = stranger == INIT or stranger == process.parent

        assert but_pass(findings) == (set() if is_keeper else {"reader.queues"})


def with_connections(*sockets: Socket) -> Process:
    """Return a reader with these connections to it and no others."""
    more = (descriptor(number, each) for number, each in enumerate(sockets, start=40))
    return replace(reader(), descriptors=(*without(reader(), 103), *more))


GONE = unix(4711, address=RELEASES, is_deaf=True, is_dead=True)


@pytest.mark.parametrize(
    ("connections", "failing"),
    [
        # Exporters that are gone have left theirs.
        ((GONE, TO_EXPORTER, GONE), set()),
        ((replace(TO_EXPORTER, is_deaf=False),), {"reader.handoff"}),
        ((replace(TO_EXPORTER, waiting_bytes=1),), {"reader.handoff"}),
        ((GONE,), {"reader.handoff", "reader.connections"}),
        (
            (TO_EXPORTER, replace(TO_EXPORTER, peer=4711)),
            {"reader.descriptors", "reader.connections"},
        ),
        ((TO_EXPORTER,) * 5, {"reader.descriptors"}),
    ],
)
def test_the_readers_connections_are_to_the_exporter_and_one_way(
    connections: tuple[Socket, ...], failing: set[str]
) -> None:
    assert but_pass(judged(with_connections(*connections))) == failing


@pytest.mark.parametrize(
    ("files", "claim", "expected"),
    [
        ({RELEASES: SocketFile(0o600, 0, 0)}, "reader.connections", "PASS"),
        ({RELEASES: SocketFile(0o666, 0, 0)}, "reader.connections", "FAIL"),
        ({RELEASES: UNREAD}, "reader.connections", "UNKNOWN"),
        ({RELOAD: SocketFile(0o660, 0, 997)}, "reader.reload", "FAIL"),
        ({RELOAD: SocketFile(0o602, 0, 0)}, "reader.reload", "FAIL"),
        ({RELOAD: SocketFile(0o600, 1000, 0)}, "reader.reload", "FAIL"),
        ({RELOAD: UNREAD}, "reader.reload", "UNKNOWN"),
    ],
)
def test_who_may_connect_or_send_is_what_the_sockets_file_says(
    files: Mapping[str, SocketFile | Unread], claim: str, expected: str
) -> None:
    process = service(reader())

    findings = judged(process, node(process, files=files))

    assert verdict(findings, claim) == expected
    assert but_pass(findings) == (set() if expected == "PASS" else {claim})


def test_an_exporter_that_pushes_has_connections_that_it_began_and_few() -> None:
    to_address = replace(SETTINGS, way_out=WayOut((443,)), destinations=1)
    to_name = replace(SETTINGS, way_out=WayOut((443,), asks_names=True), destinations=1)
    question = descriptor(30, replace(INET, kind=socket.SOCK_DGRAM, protocol=17))
    connection, many = exporter(descriptor(30, INET)), exporter(*[descriptor(30, INET)] * 9)

    assert but_pass(judged(connection, settings=to_address)) == set()
    assert but_pass(judged(exporter(question), settings=to_name)) == set()
    assert but_pass(judged(exporter(question), settings=to_address)) == {"exporter.descriptors"}
    assert but_pass(judged(many, settings=to_address)) == {"exporter.listeners"}
    assert but_pass(judged(connection)) == {"exporter.listeners"}
    # The reader has none, whoever pushes.
    assert but_pass(judged(reader(descriptor(30, INET)), settings=to_name)) == {
        "reader.descriptors"
    }


def test_a_listener_that_process_1_opened_is_told() -> None:
    of = node(exporter=exporter(), holders={"socket:[100]": frozenset((INIT, EXPORTER))})

    (told,) = (
        each.evidence for each in judged(exporter(), of) if each.identity == "exporter.listeners"
    )

    assert "127.0.0.1:9787 (opened by process 1)" in told


def test_an_agent_with_a_netlink_socket_of_its_own_or_that_hears_a_half_fails() -> None:
    hears = unix(AGENT, is_deaf=False)
    unreadable = node(replace(reader(), descriptors=UNREAD))

    assert agent_finding(agent(descriptor(9, netlink())), node()).verdict is Verdict.FAIL
    assert agent_finding(agent(descriptor(9, INET)), node()).verdict is Verdict.FAIL
    assert agent_finding(agent(descriptor(9, hears)), node()).verdict is Verdict.FAIL
    assert agent_finding(replace(agent(), descriptors=UNREAD), node()).verdict is Verdict.UNKNOWN
    assert agent_finding(agent(), unreadable).verdict is Verdict.UNKNOWN

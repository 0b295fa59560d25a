"""What is judged of a process: each fact that is not as it should be turns its own line."""

import socket
from dataclasses import replace

import pytest

from tests.audit.known import (
    HOST,
    PYTHON,
    SETTINGS,
    STATUS,
    agent,
    but_pass,
    descriptor,
    exporter,
    netlink,
    reader,
    verdict,
    with_status,
)  # fmt: skip
from tests.audit.programs import locked_down
from trafficd.audit.checks.descriptors import agent_finding, descriptor_findings
from trafficd.audit.checks.identity import identity_findings
from trafficd.audit.checks.memory import memory_findings
from trafficd.audit.checks.system_calls import system_call_findings
from trafficd.audit.facts import Descriptor, Host, MemoryMapping, Process, Socket, Thread
from trafficd.audit.finding import Unread, Verdict
from trafficd.config import Layer

UNREAD = Unread("no such file")


def test_a_process_as_it_should_be_passes() -> None:
    for process in (reader(), exporter()):
        assert but_pass([*identity_findings(process)]) == set()
        assert but_pass([*memory_findings(process, HOST)]) == set()
        assert but_pass([*descriptor_findings(process, SETTINGS)]) == set()
    assert agent_finding(agent()).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("field", "value", "claim"),
    [
        ("Uid", "65534\t0\t65534\t65534", "identity"),
        ("Uid", "0\t0\t0\t0", "identity"),
        ("Gid", "65534\t65534\t0\t65534", "identity"),
        ("Groups", "65534 0", "identity"),
        ("CapEff", "0000000000001000", "capabilities"),
        ("CapBnd", "000001ffffffffff", "capabilities"),
        ("CapAmb", "0000000000000001", "capabilities"),
        ("CapInh", "0000000000000001", "capabilities"),
        ("CapPrm", "0000000000000001", "capabilities"),
        ("NoNewPrivs", "0", "no_new_privileges"),
        ("TracerPid", "77", "untraced"),
    ],
)
def test_one_thread_that_differs_fails(field: str, value: str, claim: str) -> None:
    findings = [*identity_findings(with_status(reader(), **{field: value}))]

    assert but_pass(findings) == {f"reader.{claim}"}
    assert verdict(findings, f"reader.{claim}") is Verdict.FAIL


PIPED = replace(HOST, core_pattern="|/usr/bin/keeps-cores", suid_dumpable="2")
OLD = replace(reader(), coredump_mask=None)


@pytest.mark.parametrize(
    ("process", "host", "hidden", "core"),
    [
        (reader(), PIPED, "PASS", "PASS"),
        (replace(reader(), coredump_mask=4, files_owner=65534), HOST, "FAIL", "FAIL"),
        (replace(reader(), coredump_mask=8), HOST, "PASS", "FAIL"),
        (replace(reader(), core_limit=("0", "unlimited")), HOST, "PASS", "FAIL"),
        # A kernel that does not tell: by the owner of its files, and by what the host does.
        (OLD, HOST, "PASS", "PASS"),
        (OLD, replace(PIPED, suid_dumpable="0"), "PASS", "PASS"),
        (OLD, PIPED, "PASS", "UNKNOWN"),
        (replace(OLD, core_limit=("unlimited", "unlimited")), HOST, "PASS", "FAIL"),
        (replace(OLD, files_owner=65534), HOST, "FAIL", "FAIL"),
        (with_status(OLD), replace(HOST, core_pattern=UNREAD), "PASS", "UNKNOWN"),
        (replace(OLD, core_limit=UNREAD), HOST, "PASS", "UNKNOWN"),
    ],
)
def test_dumps_are_judged_by_what_the_kernel_tells(
    process: Process, host: Host, hidden: str, core: str
) -> None:
    findings = [*memory_findings(process, host)]

    assert verdict(findings, "reader.memory_hidden") == hidden
    assert verdict(findings, "reader.core") == core


def test_of_a_root_process_an_old_kernel_does_not_tell_whether_it_is_hidden() -> None:
    root = Thread(20, {**STATUS, "Uid": "0\t0\t0\t0"}, ())

    findings = [*memory_findings(replace(OLD, threads=(root,)), HOST)]

    assert verdict(findings, "reader.memory_hidden") is Verdict.UNKNOWN


LOOSE = MemoryMapping("rw-p", "[heap]", is_file=False, is_locked=False, is_special=False)


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        (replace(reader(), mappings=(LOOSE,)), "FAIL"),
        (replace(reader(), mappings=(LOOSE,), swapless_cgroup="/sys/fs/cgroup/a"), "PASS"),
        (replace(reader(), threads=(Thread(20, {**STATUS, "VmSwap": "4 kB"}, ()),)), "FAIL"),
        (replace(reader(), mappings=UNREAD), "UNKNOWN"),
    ],
)
def test_memory_is_locked_or_its_cgroup_has_no_swap(process: Process, expected: str) -> None:
    host = replace(HOST, swaps=1)

    assert verdict([*memory_findings(process, host)], "reader.swap") == expected


def test_on_a_host_without_swap_nothing_can_be_swapped() -> None:
    loose = replace(reader(), mappings=(LOOSE,))

    assert verdict([*memory_findings(loose, HOST)], "reader.swap") is Verdict.PASS


@pytest.mark.parametrize(
    "mapping",
    [
        MemoryMapping("rw-s", "/var/lib/x", is_file=True, is_locked=True, is_special=False),
        MemoryMapping("rw-s", "/memfd:x (deleted)", is_file=True, is_locked=True, is_special=False),
        MemoryMapping("rwxp", "", is_file=False, is_locked=True, is_special=False),
    ],
)
def test_memory_that_is_shared_or_executable_while_written_fails(mapping: MemoryMapping) -> None:
    process = replace(reader(), mappings=(mapping,))

    assert but_pass([*memory_findings(process, HOST)]) == {"reader.memory"}


INET = Socket(socket.AF_INET, socket.SOCK_STREAM, 6, port=51000)
ROGUE = Descriptor(30, "/var/lib/names", is_writable=True)


@pytest.mark.parametrize(
    ("process", "failing"),
    [
        (reader(ROGUE), {"reader.descriptors", "reader.no_file_written"}),
        (reader(replace(ROGUE, is_writable=False)), {"reader.descriptors"}),
        (reader(Descriptor(30, "pipe:[1]", True)), {"reader.descriptors"}),
        (reader(descriptor(30, INET)), {"reader.descriptors"}),
        (reader(descriptor(30, Socket(socket.AF_PACKET, 3, 0))), {"reader.descriptors"}),
        # A unix socket of somebody else's: a log, a bus.
        (
            reader(descriptor(30, Socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, peer=99))),
            {"reader.descriptors"},
        ),
        (
            reader(descriptor(30, Socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, peer=10))),
            {"reader.descriptors"},
        ),
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
    assert but_pass([*descriptor_findings(process, SETTINGS)]) == failing


def test_standard_error_may_be_anything_and_is_named() -> None:
    process = reader()
    assert not isinstance(process.descriptors, Unread)
    log = Descriptor(2, "/var/log/trafficd", is_writable=True)
    others = tuple(each for each in process.descriptors if each.number != 2)

    findings = [*descriptor_findings(replace(process, descriptors=(*others, log)), SETTINGS)]

    assert but_pass(findings) == set()
    assert any("is /var/log/trafficd" in each.evidence for each in findings)


def test_a_socket_that_cannot_be_asked_leaves_all_of_them_unknown() -> None:
    secret = Descriptor(30, "socket:[30]", True, UNREAD)

    findings = [*descriptor_findings(reader(secret), SETTINGS)]

    assert but_pass(findings) == {
        "reader.descriptors", "reader.filters", "reader.groups", "reader.handoff",
    }  # fmt: skip
    assert verdict(findings, "reader.descriptors") is Verdict.UNKNOWN
    assert agent_finding(agent(secret)).verdict is Verdict.UNKNOWN


def test_descriptors_that_cannot_be_listed_are_unknown() -> None:
    for process in (reader(), exporter()):
        findings = [*descriptor_findings(replace(process, descriptors=UNREAD), SETTINGS)]

        assert {each.verdict for each in findings} == {Verdict.UNKNOWN}


def with_netlink(*sockets: Socket) -> Process:
    """Return a reader with these netlink sockets and no others."""
    process = reader()
    assert not isinstance(process.descriptors, Unread)
    others = [each for each in process.descriptors if each.number not in (9, 11)]
    more = (descriptor(number, each) for number, each in enumerate(sockets, start=40))
    return replace(process, descriptors=(*others, *more))


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
        ((), {"reader.filters", "reader.groups"}),
    ],
)
def test_filters_and_groups_are_exactly_those(
    sockets: tuple[Socket, ...], failing: set[str]
) -> None:
    assert but_pass([*descriptor_findings(with_netlink(*sockets), SETTINGS)]) == failing


def test_each_namespace_has_two_sockets() -> None:
    two = with_netlink(netlink((1,)), netlink(), netlink((1,)), netlink())

    assert but_pass([*descriptor_findings(two, replace(SETTINGS, namespaces=1))]) == set()
    assert but_pass([*descriptor_findings(two, SETTINGS)]) == {
        "reader.descriptors",
        "reader.groups",
    }


def test_an_agent_with_a_netlink_socket_fails() -> None:
    assert agent_finding(agent(descriptor(9, netlink()))).verdict is Verdict.FAIL
    assert agent_finding(replace(agent(), descriptors=UNREAD)).verdict is Verdict.UNKNOWN


def calls(process: Process, host: Host = HOST) -> set[str]:
    return but_pass([*system_call_findings(process, host, SETTINGS)])


def with_program(process: Process, *allowed: int) -> Process:
    return replace(process, threads=(Thread(20, STATUS, (locked_down(*allowed),)),))


@pytest.mark.parametrize(
    ("number", "claims"),
    [
        (0, set()),
        (41, {"network", "rest"}),
        (16, {"links"}),
        (257, {"read", "write", "rest"}),
        (62, {"processes", "rest"}),
        (321, {"kernel", "rest"}),
        (9, {"code"}),
        (157, {"identity", "rest"}),
        (400, {"rest"}),
    ],
)
def test_a_call_that_passes_fails_its_claim(number: int, claims: set[str]) -> None:
    expected = {f"reader.calls.{each}" for each in claims}
    expected |= {"reader.landlock"} if "read" in claims else set()

    assert calls(with_program(reader(), number)) == expected


def test_one_thread_without_a_filter_fails_every_claim() -> None:
    bare = Thread(21, {**STATUS, "Seccomp": "0"}, ())
    process = replace(reader(), threads=(*reader().threads, bare))

    findings = [*system_call_findings(process, HOST, SETTINGS)]

    assert {each.verdict for each in findings} == {Verdict.FAIL}


@pytest.mark.parametrize(
    ("process", "host"),
    [
        (replace(reader(), threads=(Thread(20, STATUS, UNREAD),)), HOST),
        (reader(), replace(HOST, machine="vax")),
        (reader(), replace(HOST, system_calls=UNREAD)),
    ],
)
def test_a_filter_that_cannot_be_read_or_run_is_unknown(process: Process, host: Host) -> None:
    findings = [*system_call_findings(process, host, SETTINGS)]

    assert verdict(findings, "reader.seccomp") is Verdict.PASS
    assert {each.verdict for each in findings[1:]} == {Verdict.UNKNOWN}


def test_an_exporter_with_a_web_config_may_read_and_not_write() -> None:
    settings = replace(SETTINGS, has_web_config=True)
    with_all_of_openat = with_program(exporter(), 257)

    findings = [*system_call_findings(with_all_of_openat, HOST, settings)]

    assert verdict(findings, "exporter.calls.read") is Verdict.PASS
    assert verdict(findings, "exporter.calls.write") is Verdict.FAIL
    assert verdict(findings, "exporter.calls.rest") is Verdict.PASS


def test_landlock_is_judged_by_the_kernel_and_the_configuration() -> None:
    none = [*system_call_findings(reader(), replace(HOST, landlock=UNREAD), SETTINGS)]
    settings = replace(SETTINGS, absent=(Layer.LANDLOCK,))
    absent = [*system_call_findings(reader(), HOST, settings)]

    assert verdict(none, "reader.landlock") is Verdict.UNKNOWN
    assert verdict(absent, "reader.landlock") is Verdict.FAIL
    assert PYTHON not in absent[-1].evidence

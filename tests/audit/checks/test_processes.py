"""What is judged of a process: each fact that is not as it should be turns its own line."""

from dataclasses import replace

import pytest

from tests.audit.known import (
    HOST,
    MAPPINGS,
    PYTHON,
    SETTINGS,
    STATE,
    STATUS,
    but_pass,
    exporter,
    reader,
    verdict,
    with_status,
)
from tests.audit.programs import locked_down
from trafficd.audit.checks.identity import identity_findings
from trafficd.audit.checks.memory import memory_findings
from trafficd.audit.checks.system_calls import system_call_findings
from trafficd.audit.facts import Host, MemoryMapping, Process, Thread
from trafficd.audit.finding import Unread, Verdict
from trafficd.config import Layer
from trafficd.sandbox.apply import WayOut

UNREAD = Unread("no such file")


def test_a_process_as_it_should_be_passes() -> None:
    for process in (reader(), exporter()):
        assert but_pass([*identity_findings(process)]) == set()
        assert but_pass([*memory_findings(process, HOST)]) == set()


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
        replace(STATE, file=UNREAD),
        MemoryMapping("rw-s", "/memfd:x (deleted)", is_file=True, is_locked=True, is_special=False),
        MemoryMapping("rwxp", "", is_file=False, is_locked=True, is_special=False),
    ],
)
def test_memory_that_is_shared_or_executable_while_written_fails(mapping: MemoryMapping) -> None:
    for process in (reader(), exporter()):
        more = replace(process, mappings=(*MAPPINGS, mapping))

        assert but_pass([*memory_findings(more, HOST)]) == {f"{process.half}.memory"}


def test_of_shared_memory_the_reader_has_its_state_and_the_exporter_none() -> None:
    of_both = (*MAPPINGS, STATE)

    assert but_pass([*memory_findings(replace(reader(), mappings=of_both), HOST)]) == set()
    assert but_pass([*memory_findings(replace(exporter(), mappings=of_both), HOST)]) == {
        "exporter.memory"
    }
    two = replace(reader(), mappings=(*of_both, replace(STATE, path="/dev/shm/another")))
    assert but_pass([*memory_findings(two, HOST)]) == {"reader.memory"}


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
        # With whatever option; that the reader takes connections is written down.
        (55, {"network"}),
        (288, set()),
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


def test_an_exporter_that_pushes_makes_no_socket_it_likes() -> None:
    settings = replace(SETTINGS, way_out=WayOut((443,)), destinations=1)
    with_all_of_socket = with_program(exporter(), 41)

    findings = [*system_call_findings(with_all_of_socket, HOST, settings)]
    not_pushing = [*system_call_findings(with_all_of_socket, HOST, SETTINGS)]

    assert verdict(findings, "exporter.calls.network") is Verdict.FAIL
    # That it makes sockets at all is written down, if it pushes.
    assert verdict(findings, "exporter.calls.rest") is Verdict.PASS
    assert verdict(not_pushing, "exporter.calls.rest") is Verdict.FAIL


@pytest.mark.parametrize(("version", "told"), [(3, "connect to any"), (4, "to port 443, 9788")])
def test_which_ports_landlock_leaves_is_told(version: int, told: str) -> None:
    settings = replace(SETTINGS, way_out=WayOut((443, 9788)), destinations=1)

    findings = [*system_call_findings(exporter(), replace(HOST, landlock=version), settings)]

    assert findings[-1].identity == "exporter.landlock"
    assert told in findings[-1].evidence


def test_landlock_is_judged_by_the_kernel_and_the_configuration() -> None:
    none = [*system_call_findings(reader(), replace(HOST, landlock=UNREAD), SETTINGS)]
    settings = replace(SETTINGS, absent=(Layer.LANDLOCK,))
    absent = [*system_call_findings(reader(), HOST, settings)]

    assert verdict(none, "reader.landlock") is Verdict.UNKNOWN
    assert verdict(absent, "reader.landlock") is Verdict.FAIL
    assert PYTHON not in absent[-1].evidence

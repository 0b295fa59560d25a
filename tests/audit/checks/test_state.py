"""Where the reader's state lies: each thing that is not as it should be turns its line."""

from dataclasses import replace

import pytest

from tests.audit.known import HOST, MAPPINGS, STATE, STATE_FILE, but_pass, reader, verdict
from trafficd.audit.checks.state import state_findings
from trafficd.audit.facts import Descriptor, Host, MappedFile, MemoryMapping, Process
from trafficd.audit.finding import Finding, Unread

UNREAD = Unread("no such file")
SWAPS = replace(HOST, swaps=1)
NO_SWAP = replace(STATE, file=replace(STATE_FILE, mount_options=frozenset(("rw", "noswap"))))
UNKNOWN_MOUNT = replace(STATE, file=replace(STATE_FILE, mount_options=UNREAD))


def judged(process: Process, host: Host = HOST) -> list[Finding]:
    return [*state_findings(process, host)]


def with_state(*states: MemoryMapping) -> Process:
    return replace(reader(), mappings=(*MAPPINGS, *states))


def test_a_state_in_ram_and_no_state_at_all_pass() -> None:
    assert but_pass(judged(reader())) == set()
    assert but_pass(judged(with_state(), SWAPS)) == set()


@pytest.mark.parametrize(
    "file",
    [
        replace(STATE_FILE, is_on_tmpfs=False),
        replace(STATE_FILE, is_regular=False),
        replace(STATE_FILE, mode=0o640),
        replace(STATE_FILE, owner=1000),
        replace(STATE_FILE, links=2),
        replace(STATE_FILE, links=0),
    ],
    ids=["on a disk", "no file", "mode", "owner", "a second name", "no name"],
)
def test_a_file_that_lies_otherwise_fails(file: MappedFile) -> None:
    findings = judged(with_state(replace(STATE, file=file)))

    assert but_pass(findings) == {"reader.state"}
    assert verdict(findings, "reader.state") == "FAIL"


def test_a_state_of_the_user_that_the_reader_runs_as_passes() -> None:
    own = replace(STATE, file=replace(STATE_FILE, owner=65534))

    assert but_pass(judged(with_state(own))) == set()


def test_two_states_fail_and_one_that_is_open_and_one_that_cannot_be_asked_is_unknown() -> None:
    held_open = Descriptor(30, STATE.path, is_writable=False)

    of_two = judged(with_state(STATE, replace(STATE, path="/dev/shm/another")))
    of_open = judged(reader(held_open))
    of_unread = judged(with_state(replace(STATE, file=UNREAD)))

    assert verdict(of_two, "reader.state") == "FAIL"
    assert verdict(of_open, "reader.state") == "FAIL"
    assert verdict(of_unread, "reader.state") == "UNKNOWN"


def test_mappings_that_cannot_be_read_leave_both_unknown() -> None:
    findings = judged(replace(reader(), mappings=UNREAD))

    assert {each.verdict for each in findings} == {"UNKNOWN"}


@pytest.mark.parametrize(
    ("state", "cgroup", "expected"),
    [
        (STATE, "", "FAIL"),
        (NO_SWAP, "", "PASS"),
        (UNKNOWN_MOUNT, "", "FAIL"),
        # What was in the accounts of a cgroup that is gone is the kernel's matter.
        (STATE, "/sys/fs/cgroup/a", "UNKNOWN"),
        (replace(NO_SWAP, swapped="4 kB"), "", "FAIL"),
    ],
)
def test_on_a_host_with_swap_a_state_that_nobody_has_mapped_can_be_swapped_out(
    state: MemoryMapping, cgroup: str, expected: str
) -> None:
    process = replace(with_state(state), swapless_cgroup=cgroup)

    assert verdict(judged(process, SWAPS), "reader.state_swap") == expected
    assert verdict(judged(process, replace(HOST, swaps=UNREAD)), "reader.state_swap") == (
        "FAIL" if state.swapped != "0 kB" else "UNKNOWN"
    )


def test_pages_that_are_out_fail_where_there_is_no_swap_any_more() -> None:
    findings = judged(with_state(replace(STATE, swapped="4 kB")))

    assert verdict(findings, "reader.state_swap") == "FAIL"

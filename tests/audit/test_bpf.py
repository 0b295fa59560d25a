"""The interpreter of seccomp programs: by hand, and against libseccomp and the kernel."""

import errno
import os
import platform
import struct
import subprocess

import pyseccomp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.programs import (
    ALLOW,
    AND,
    ARCHITECTURE,
    ARGUMENTS_AT,
    EPERM,
    EQUAL,
    KILL,
    LOAD,
    RETURN,
    RETURN_A,
    locked_down,
    program,
)  # fmt: skip
from trafficd.audit.bpf import Call, outcome
from trafficd.audit.calls import ARCHITECTURES
from trafficd.sandbox.inspect import system_calls
from trafficd.sandbox.socket_filter import Instruction, Program

SOCKET, READ = 41, 0


def call(number: int | None, architecture: int = ARCHITECTURE, **arguments: int) -> Call:
    return Call(architecture, number, {int(key[1:]): value for key, value in arguments.items()})


def test_without_a_program_everything_passes() -> None:
    assert outcome([], call(SOCKET)).passes


def test_a_call_is_judged_by_number_and_architecture() -> None:
    only_read = locked_down(READ)

    assert outcome([only_read], call(READ)).passes
    assert not outcome([only_read], call(SOCKET)).passes
    assert outcome([only_read], call(SOCKET)).refusals == ("EPERM",)
    assert outcome([only_read], call(READ, architecture=1)).refusals == ("kill",)


def test_a_number_that_is_not_known_is_any() -> None:
    assert outcome([locked_down(READ)], call(None)).passes
    assert not outcome([locked_down()], call(None)).passes


def test_the_strictest_of_several_programs_decides() -> None:
    assert not outcome([locked_down(READ, SOCKET), locked_down(READ)], call(SOCKET)).passes
    assert outcome([locked_down(READ, SOCKET), locked_down(READ)], call(READ)).passes


def test_an_argument_decides_where_it_is_known_and_is_any_where_not() -> None:
    # Passes with the bits of the second argument's lower half that are in 0xF0 being 0x20.
    masked = program(
        (LOAD, ARGUMENTS_AT + 8), (AND, 0xF0), (EQUAL, 0, 1, 0x20), (RETURN, ALLOW), (RETURN, EPERM)
    )

    assert outcome([masked], call(READ, a1=0x1_0000_0025)).passes
    assert not outcome([masked], call(READ, a1=0x35)).passes
    assert outcome([masked], call(READ)).passes
    assert outcome([masked], call(READ)).refusals == ("EPERM",)


def test_what_another_process_decides_is_not_refused() -> None:
    for action in (0x7FC00000, 0x7FF00000, 0x7FFC0000):
        assert outcome([program((RETURN, action))], call(READ)).passes


def test_an_action_that_is_not_known_kills_and_an_error_of_none_is_no_success() -> None:
    assert outcome([program((RETURN, 0x12340000))], call(READ)).refusals == ("kill",)
    assert not outcome([program((RETURN, 0x00050000))], call(READ)).passes


def test_a_return_of_what_was_loaded_may_be_anything() -> None:
    assert outcome([program((LOAD, ARGUMENTS_AT), (RETURN_A, 0))], call(READ)).passes
    assert not outcome([program((LOAD, ARGUMENTS_AT), (RETURN_A, 0))], call(READ, a0=KILL)).passes


RULES = (
    ("read", ()),
    ("openat", ((2, 0xFFFFFFFF & ~os.O_CLOEXEC, 0),)),
    ("ioctl", ((1, 0xFFFFFFFF, 0x5421),)),
    ("sendto", ((4, (1 << 64) - 1, 0), (3, 0x40, 0))),
    ("mmap", ((2, 4, 0),)),
)
NAMES = ("read", "openat", "ioctl", "sendto", "mmap", "socket", "ptrace")


@pytest.fixture(scope="module", params=[1, 2], ids=["by priority", "by a binary tree"])
def exported(request: pytest.FixtureRequest) -> Program:
    """A program as libseccomp writes it."""
    made = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    made.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    made.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, request.param)
    for name, arguments in RULES:
        conditions = [pyseccomp.Arg(n, pyseccomp.MASKED_EQ, m, v) for n, m, v in arguments]
        made.add_rule(pyseccomp.ALLOW, name, *conditions)
    with os.fdopen(os.memfd_create("filter"), "r+b") as file:
        made.export_bpf(file)
        file.seek(0)
        code = file.read()
    return tuple(Instruction(*each) for each in struct.iter_unpack("=HBBI", code))


WORDS = st.one_of(
    st.integers(0, (1 << 64) - 1), st.sampled_from([0, 0x5421, 1 << 32, os.O_CLOEXEC, 0x40])
)


@given(st.sampled_from(NAMES), st.lists(WORDS, min_size=6, max_size=6), st.integers(0, 63))
def test_it_says_of_libseccomps_programs_what_their_rules_say(
    exported: Program, name: str, arguments: list[int], known: int
) -> None:
    native = ARCHITECTURES[platform.machine()][0]
    of_rule = dict(RULES).get(name)
    met = of_rule is not None and all(arguments[n] & m == v for n, m, v in of_rule)
    some = {n: value for n, value in enumerate(arguments) if known >> n & 1}
    number = system_calls()[name]

    whole = outcome([exported], Call(native, number, dict(enumerate(arguments))))
    partly = outcome([exported], Call(native, number, some))

    assert whole.passes == met
    # What is refused whatever the rest is, is refused with this rest.
    assert partly.passes or not met


def test_foreign_architectures_do_not_pass_libseccomps_program(exported: Program) -> None:
    native, foreign = ARCHITECTURES[platform.machine()]

    for architecture in foreign.values():
        assert not outcome([exported], Call(architecture, None, {})).passes
    if platform.machine() == "x86_64":
        assert not outcome([exported], Call(native, 0x40000000, {})).passes


def test_the_numbers_are_those_of_the_c_library() -> None:
    names = {"read": "SYS_read", "openat": "SYS_openat", "io_uring_setup": "SYS_io_uring_setup"}
    source = "#include <sys/syscall.h>\n" + "\n".join(names.values())
    try:
        done = subprocess.run(
            ["cpp", "-P"], input=source, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no C preprocessor")

    numbers = [int(line) for line in done.stdout.split("\n") if line.isdecimal()]
    assert [system_calls()[name] for name in names] == numbers

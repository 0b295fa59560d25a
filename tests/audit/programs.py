"""Small seccomp programs, written down as the kernel reads them."""

from trafficd.audit.calls import ARCHITECTURES
from trafficd.sandbox.socket_filter import Instruction, Program

NATIVE = "x86_64"
ARCHITECTURE = ARCHITECTURES[NATIVE][0]
# linux/bpf_common.h and linux/seccomp.h
LOAD, AND, EQUAL, RETURN, RETURN_A = 0x20, 0x54, 0x15, 0x06, 0x16
ALLOW, EPERM, KILL = 0x7FFF0000, 0x00050001, 0x80000000
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16


def program(*lines: tuple[int, ...]) -> Program:
    """Return a program; a line is code and constant, and the two jumps before it for a test."""
    return tuple(
        Instruction(line[0], *(line[1:3] if len(line) == 4 else (0, 0)), line[-1]) for line in lines
    )


def locked_down(*allowed: int) -> Program:
    """Return a program that lets the calls numbered *allowed* through, of one architecture."""
    tests = [(EQUAL, len(allowed) - place, 0, call) for place, call in enumerate(allowed)]
    return program(
        (LOAD, ARCHITECTURE_AT),
        (EQUAL, 1, 0, ARCHITECTURE),
        (RETURN, KILL),
        (LOAD, NUMBER_AT),
        *tests,
        (RETURN, EPERM),
        (RETURN, ALLOW),
    )

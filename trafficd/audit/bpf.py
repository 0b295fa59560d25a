"""Runs a seccomp program on system calls of which only a part is known.

Theory: a classic BPF program has no loop, so that every way through it can be walked. What a load
does not know is any value: a test on it goes both ways. All the actions at the ends of those ways
are what the kernel could answer, for whatever stands in the unknown places; so "refused" here is
a proof and not a sample. "Passes" may be too careful, never too kind.

Source: linux/filter.h, linux/seccomp.h, seccomp(2); the operations are those that
kernel/seccomp.c, seccomp_check_filter, lets in.
"""

import errno
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from trafficd.sandbox.socket_filter import Program

_WORD = 0xFFFFFFFF
_DATA_BYTES = 64  # struct seccomp_data
_ARGUMENTS_AT = 16
_LOW, _HIGH = (0, 4) if sys.byteorder == "little" else (4, 0)

# linux/bpf_common.h
_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
_ABSOLUTE, _MEMORY, _LENGTH = 0x20, 0x60, 0x80
_OPERATIONS: Mapping[int, Callable[[int, int], int]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b if b else 0,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << b if b < 32 else 0,
    0x70: lambda a, b: a >> b,
    0xA0: lambda a, b: a ^ b,
}
_NEGATE = 0x80
_JUMP_ALWAYS = 0x00
_TESTS: Mapping[int, Callable[[int, int], bool]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: bool(a & b),
}
_BY_X = 0x08
_RETURN_A = 0x10
_TXA = 0x80

# linux/seccomp.h: what a program returns, in the upper half; the lower is the error number.
_ACTIONS = {
    0x80000000: "kill",
    0x00000000: "kill",
    0x00030000: "trap",
    0x00050000: "error",
    0x7FC00000: "asks another process",
    0x7FF00000: "asks a tracer",
    0x7FFC0000: "log",
    0x7FFF0000: "allow",
}
_REFUSING = ("kill", "trap", "error")

Value = int | None


@dataclass(frozen=True, slots=True)
class Call:
    """A system call: architecture, number, and what is known of its arguments."""

    architecture: int
    number: Value
    arguments: Mapping[int, int]

    def word(self, offset: int) -> Value:
        """Return the 32 bits of struct seccomp_data at *offset*, if they are known."""
        if offset == 0:
            return self.number
        if offset == 4:
            return self.architecture
        argument, place = divmod(offset - _ARGUMENTS_AT, 8)
        if offset < _ARGUMENTS_AT or argument not in self.arguments:
            return None
        value = self.arguments[argument]
        return (value if place == _LOW else value >> 32) & _WORD


@dataclass(frozen=True, slots=True)
class Outcome:
    """What all programs of a thread together can answer to a call."""

    passes: bool
    refusals: tuple[str, ...]


def outcome(programs: Iterable[Program], call: Call) -> Outcome:
    """Return whether *call* can pass, and how it is refused where it is.

    The kernel runs every program and takes the strictest answer: one that always refuses decides.
    """
    refusals: set[str] = set()
    passes = True
    for program in programs:
        answers = _answers(program, call)
        if not any(_name(each) not in _REFUSING for each in answers):
            passes = False
        refusals |= {_shown(each) for each in answers if _name(each) in _REFUSING}
    return Outcome(passes, tuple(sorted(refusals)))


def _answers(program: Program, call: Call) -> set[int]:
    """Return every value that *program* can return for *call*; None stands for any of them."""
    start: tuple[int, Value, Value, tuple[Value, ...]] = (0, 0, 0, (0,) * 16)
    waiting, seen, found = [start], {start}, set()
    while waiting:
        place, a, x, memory = waiting.pop()
        for then in _step(program, call, place, a, x, memory):
            if isinstance(then, int):
                found.add(then)
            elif then not in seen:
                seen.add(then)
                waiting.append(then)
    return found


_State = tuple[int, Value, Value, tuple[Value, ...]]


def _step(
    program: Program, call: Call, place: int, a: Value, x: Value, memory: tuple[Value, ...]
) -> list[_State | int]:
    """Return what can follow the instruction at *place*: further states, or what is returned."""
    each = program[place]
    kind, k, operand = each.code & 7, each.k, each.k
    by_x = x if each.code & _BY_X else operand
    here = place + 1
    if kind == _RET:
        returned = a if each.code & 0x18 == _RETURN_A else k
        # Anything at all may be returned: that it passes is among it.
        return [0x7FFF0000 if returned is None else returned]
    if kind == _JMP:
        if each.code & 0xF0 == _JUMP_ALWAYS:
            return [(here + k, a, x, memory)]
        yes, no = (here + each.jt, a, x, memory), (here + each.jf, a, x, memory)
        if a is None or by_x is None:
            return [yes, no]
        return [yes if _TESTS[each.code & 0xF0](a, by_x) else no]
    if kind in (_LD, _LDX):
        mode = each.code & 0xE0
        loaded: Value = k
        if mode == _ABSOLUTE:
            loaded = call.word(k)
        elif mode == _MEMORY:
            loaded = memory[k]
        elif mode == _LENGTH:
            loaded = _DATA_BYTES
        return [(here, loaded, x, memory) if kind == _LD else (here, a, loaded, memory)]
    if kind in (_ST, _STX):
        kept = (*memory[:k], a if kind == _ST else x, *memory[k + 1 :])
        return [(here, a, x, kept)]
    if kind == _MISC:
        return [(here, x, x, memory) if each.code & _TXA else (here, a, a, memory)]
    if each.code & 0xF0 == _NEGATE:
        return [(here, None if a is None else -a & _WORD, x, memory)]
    if a is None or by_x is None:
        return [(here, None, x, memory)]
    return [(here, _OPERATIONS[each.code & 0xF0](a, by_x) & _WORD, x, memory)]


def _name(returned: int) -> str:
    # An action that the kernel does not know kills (seccomp(2)).
    return _ACTIONS.get(returned & 0xFFFF0000, "kill")


def _shown(returned: int) -> str:
    name = _name(returned)
    if name != "error":
        return name
    number = returned & 0xFFFF
    return errno.errorcode.get(number, f"error {number}")

"""What the evil module has inside a half: raw system calls, and a line to the test.

It says what it learned in lines on standard error, and asks the test for what must happen outside:
an event, a look at the process from elsewhere. Answers come over a pipe that was opened before the
half was locked. Nothing here may import or open anything later.
"""

import asyncio
import ctypes
import errno
import fcntl
import json
import os
import platform
import select
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

# Above all that a half opens, so that trying every descriptor leaves it out.
_OUT_OF_THE_WAY = 200
_FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
_MOST_LEARNED = 600  # characters of a line; with the rest of it less than PIPE_BUF, pipe(7)
_ANSWER_SECONDS = 20.0
READER, EXPORTER = "reader", "exporter"
BOTH = (READER, EXPORTER)

# asm/unistd.h, of the calls that the C library has no function for; from 424 on all architectures
# have the same numbers.
_NUMBERS = {
    "x86_64": {
        "clone": 56, "getdents64": 217, "keyctl": 250, "add_key": 248, "bpf": 321,
        "perf_event_open": 298, "userfaultfd": 323, "kcmp": 312, "init_module": 175,
        "finit_module": 313, "pivot_root": 155, "kexec_load": 246, "mq_open": 240,
        "rt_sigqueueinfo": 129, "tgkill": 234, "execveat": 322, "timer_create": 222,
        "ioprio_set": 251, "request_key": 249, "memfd_create": 319, "reboot": 169,
    },
    "aarch64": {
        "clone": 220, "getdents64": 61, "keyctl": 219, "add_key": 217, "bpf": 280,
        "perf_event_open": 241, "userfaultfd": 282, "kcmp": 272, "init_module": 105,
        "finit_module": 273, "pivot_root": 41, "kexec_load": 104, "mq_open": 180,
        "rt_sigqueueinfo": 138, "tgkill": 131, "execveat": 281, "timer_create": 107,
        "ioprio_set": 30, "request_key": 218, "memfd_create": 279, "reboot": 142,
    },
}.get(platform.machine(), {})  # fmt: skip
_NUMBERS.update(
    pidfd_send_signal=424, io_uring_setup=425, open_tree=428, fsopen=430, fspick=433,
    pidfd_open=434, clone3=435, openat2=437, pidfd_getfd=438, process_madvise=440,
    mount_setattr=442, memfd_secret=447, statmount=457, listmount=458,
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


class NotOfferedError(Exception):
    """This kernel or this half has nothing of the kind; the message says what."""


def raw(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make the system call *name*.

    Raises: OSError, NotOfferedError on an architecture whose number is not known here.
    """
    if name not in _NUMBERS:
        raise NotOfferedError(f"no number for {name} on {platform.machine()}")
    return call("syscall", _NUMBERS[name], *arguments)


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Call the C library's function *name*, which says by -1 that it failed.

    Raises: OSError.
    """
    function = getattr(_libc, name)
    function.restype = ctypes.c_long
    passed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    ctypes.set_errno(0)
    returned = int(function(*passed))
    # An int of -1 may come with anything in the rest of the register.
    if returned & 0xFFFFFFFF == 0xFFFFFFFF and ctypes.get_errno():
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to learn something or to leave a trace.

    *act* returns what it learned, in words; no word is nothing learned. *absent* is by which errors
    a kernel says, where nothing is locked, that it has no such thing.
    """

    name: str
    halves: tuple[str, ...]
    absent: frozenset[int]
    is_deadly: bool
    act: Callable[["World"], str]


ATTEMPTS: dict[str, Attempt] = {}


def attempt(
    *halves: str, name: str, absent: Iterable[int] = (), is_deadly: bool = False
) -> Callable[[Callable[["World"], str]], Callable[["World"], str]]:
    """Enter a function among the attempts of *halves*, of both if none is named."""

    def enter(act: Callable[["World"], str]) -> Callable[["World"], str]:
        assert name not in ATTEMPTS, name
        ATTEMPTS[name] = Attempt(name, halves or BOTH, frozenset(absent), is_deadly, act)
        return act

    return enter


@dataclass(slots=True)
class World:
    """The half from inside: its descriptors, and what the test planted."""

    half: str
    answers_path: str
    is_control: bool
    facts: dict[str, Any] = field(default_factory=dict)
    handed: list[tuple[str, int]] = field(default_factory=list)
    # Between the halves; it is there once both serve.
    find_connection: Callable[[], int] = lambda: -1
    _answers: int = -1
    _received: bytes = b""
    _sequence: int = 1

    def __post_init__(self) -> None:
        """Open what cannot be opened later."""
        names = os.environ["LISTEN_FDNAMES"].split(":")
        self.handed = [(name, _FIRST_DESCRIPTOR + number) for number, name in enumerate(names)]
        opened = os.open(self.answers_path, os.O_RDWR)
        self._answers = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
        os.close(opened)
        # A child whose fork was let through tells so in the same way as its parent.
        self.say(process=os.getpid())

    async def facts_are_there(self) -> None:
        """Wait for what the test planted, while the half goes on with its work."""
        there = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._answers, there.set)
        await there.wait()
        loop.remove_reader(self._answers)
        self.facts = self._answer()

    def try_all(self, attempts: Iterable[Attempt]) -> None:
        """Try *attempts* one after the other and say what came of each."""
        for each in attempts:
            self.say(trying=each.name)
            self.say(tried=each.name, **self._try(each))
        self.say(is_done=True)

    def _try(self, each: Attempt) -> dict[str, str]:
        try:
            return {"learned": each.act(self)[:_MOST_LEARNED]}
        except NotOfferedError as error:
            return {"not_offered": str(error)}
        except OSError as error:
            return {"refused": errno.errorcode.get(error.errno or 0, str(error))}
        except Exception as error:  # it says something about the attempt and nothing about the half
            return {"broken": f"{type(error).__name__}: {error}"[:_MOST_LEARNED]}

    def say(self, **what: object) -> None:
        """Tell the test."""
        os.write(2, f"EVIL {json.dumps(what)}\n".encode())

    def ask(self, question: str, **details: object) -> Any:
        """Have the test do or find out something outside, and return its answer."""
        self.say(question=question, **details)
        return self._answer()

    def _answer(self) -> Any:
        while b"\n" not in self._received:
            if not select.select([self._answers], [], [], _ANSWER_SECONDS)[0]:
                raise TimeoutError("no answer")
            self._received += os.read(self._answers, 1 << 16)
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def descriptors(self) -> Iterator[int]:
        """Yield what is open, as far as reading or writing nothing tells."""
        for descriptor in range(_OUT_OF_THE_WAY):
            if _is_open(descriptor):
                yield descriptor

    def secrets(self) -> dict[str, bytes]:
        """Return what must not be learned, by what it is."""
        return {name: bytes.fromhex(value) for name, value in self.facts["secrets"].items()}

    def found(self, data: bytes) -> str:
        """Return which secrets are in *data*, in words."""
        return ", ".join(name for name, value in self.secrets().items() if value in data)

    def netlink_sockets(self) -> list[int]:
        """Return the half's own netlink sockets: of events, of dumps, as the agent hands them."""
        return [descriptor for name, descriptor in self.handed if name == "host"]

    @property
    def connection(self) -> int:
        """The socket to the other half."""
        return self.find_connection()

    @property
    def lifeline(self) -> int:
        """The socket to the agent."""
        return dict(self.handed)["agent"]

    def next_sequence(self) -> int:
        """Return a number for a request."""
        self._sequence += 1
        return self._sequence


def _is_open(descriptor: int) -> bool:
    for touch in (lambda: os.read(descriptor, 0), lambda: os.write(descriptor, b"")):
        try:
            touch()
        except OSError as error:
            if error.errno == errno.EBADF:
                continue
        return True
    return False


def in_child(act: Callable[[], str]) -> str:
    """Return what *act* returns in a child, or here where none can be made.

    For what a process cannot take back: a control run goes on with the next attempt.
    """
    reading, writing = -1, -1
    try:
        reading, writing = os.pipe()
        child = os.fork()
    except OSError:
        for each in (reading, writing):
            if each >= 0:
                os.close(each)
        return act()
    if child == 0:
        try:
            said = f"+{act()}"
        except OSError as error:
            said = f"-{error.errno}"
        except BaseException as error:  # it must not return into the parent's code
            said = f"!{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    said = os.read(reading, 1 << 16).decode()
    os.close(reading)
    os.waitpid(child, 0)
    if said.startswith("-"):
        raise OSError(int(said[1:]), os.strerror(int(said[1:])))
    if not said.startswith("+"):
        raise RuntimeError(said)
    return said[1:]


def reached(act: Callable[[], object], *errors: int) -> str:
    """Return that the kernel considered a call whose arguments are wrong on purpose.

    *errors* are what it says then; a call that is refused says EPERM, EACCES or something else.
    """
    try:
        act()
    except OSError as error:
        if error.errno in errors:
            return f"the call was considered: {errno.errorcode[error.errno or 0]}"
        raise
    return "the call was made"


def words(*values: int) -> bytes:
    """Return *values* as 32-bit words, as many structures of the kernel begin."""
    return struct.pack(f"={len(values)}I", *values)

"""System calls: the few that a half needs to go on, and no other.

A call that is not listed fails with EPERM and a call for another architecture ends the process.
Where a list says "with", the arguments decide as well; what a pointer points at cannot be seen
(seccomp(2)), so a call that carries an address or a path in memory is listed only where the kernel
has another say.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
import sys
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trafficd.errors import SandboxError
from trafficd.sandbox.child import ask_child
from trafficd.sandbox.libc import libc_call

_WORD = (1 << 64) - 1
_INT = (1 << 32) - 1  # what the kernel reads of an int; the rest of the register is anything
_NULL = 0
_SO_MEMINFO = 55  # asm-generic/socket.h
# asm-generic/fcntl.h, of 64-bit systems: the C library may set it, and it means nothing there.
_O_LARGEFILE = 0o100000
_MADV_DONTNEED = 4  # asm-generic/mman-common.h
_MSG_FASTOPEN = 0x20000000  # linux/socket.h: connects
# linux/sched.h: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID are
# what pthread_create asks for; musl adds DETACHED, which means nothing.
_NEW_THREAD = 0x003D0F00
_CLONE_DETACHED = 0x00400000
_BINARY_TREE = 2  # seccomp_attr_set(3), SCMP_FLTATR_CTL_OPTIMIZE
# linux/seccomp.h; the second came with 4.17. Without it, a filter makes every process slower that
# has one, by a mitigation which guards one part of a process from another (seccomp(2)).
_SET_MODE_FILTER = 1
_FILTER_FLAG_SPEC_ALLOW = 1 << 2
_INSTRUCTION_BYTES = 8  # linux/filter.h, struct sock_filter
_SOCK_FPROG = struct.Struct("@HP")  # linux/filter.h: their number, and where they are
_NUMBER = struct.Struct("=I")
_ADDRESS_BYTES = (16, 28)  # linux/in.h, struct sockaddr_in; linux/in6.h, struct sockaddr_in6
_UNKNOWN = -1  # seccomp_syscall_resolve_name(3), __NR_SCMP_ERROR


@dataclass(frozen=True, slots=True)
class With:
    """What an argument must be: *value* in the bits of *mask*."""

    argument: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that is let through if its arguments are as they must be.

    With an *error*, it is answered by that instead of EPERM.
    """

    name: str
    arguments: tuple[With, ...] = ()
    error: int = 0


def _plain(*names: str) -> tuple[Call, ...]:
    return tuple(Call(name) for name in names)


def _integer(argument: int, value: int) -> With:
    return With(argument, _INT, value & _INT)


def _opening(kind: int, protocol: int) -> tuple[Call, ...]:
    """Return the calls that open an internet socket of *kind*, whose usual *protocol* is 0 too."""
    flags = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    return tuple(
        Call("socket", (_integer(0, family), With(1, _INT & ~flags, kind), _integer(2, number)))
        for family in (socket.AF_INET, socket.AF_INET6)
        for number in (0, protocol)
    )


# To a peer only that the socket already has: the address is at a NULL pointer.
_SEND = Call("sendto", (With(4, _WORD, _NULL),))
# asyncio and socket.setblocking set sockets so.
_SET_NON_BLOCKING = Call("ioctl", (_integer(1, termios.FIONBIO),))

# What CPython and asyncio need to go on with what is open, and to end in order.
COMMON = (
    *_plain("read", "write", "recvfrom", "close"),
    _SEND,
    _SET_NON_BLOCKING,
    # The loop; log.py asks whether standard error takes a line.
    *_plain("epoll_wait", "epoll_pwait", "epoll_ctl", "select", "pselect6"),
    # Clocks, where the vDSO has no answer (vdso(7)).
    *_plain("clock_gettime", "gettimeofday", "time"),
    # Memory, and none of it to execute.
    *_plain("brk", "munmap", "mremap"),
    Call("mmap", (With(2, mmap.PROT_EXEC, 0),)),
    Call("mprotect", (With(2, mmap.PROT_EXEC, 0),)),
    # Signals, and what goes on after one.
    *_plain("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    # The interpreter's lock, and the end.
    *_plain("futex", "exit", "exit_group"),
    # pyroute2 numbers its requests by it, OpenSSL notices a fork by it.
    *_plain("getpid"),
)

READER = (
    *COMMON,
    # The kernel's version, in the words to an operator whose kernel is too old.
    *_plain("uname"),
    # Exporters that connect to its socket for releases, each heard no more from then on.
    *_plain("accept4", "getsockname", "shutdown"),
    # Whether events were dropped for want of room (events.py).
    Call("getsockopt", (_integer(1, socket.SOL_SOCKET), _integer(2, _SO_MEMINFO))),
)

EXPORTER = (
    *COMMON,
    # Randomness for TLS; OpenSSL would open /dev/urandom without it.
    *_plain("getrandom"),
    # Connections to its listeners, which were opened before and are given anew to aiohttp
    # whenever the web config changes.
    *_plain("accept4", "listen", "getsockname", "getpeername", "shutdown"),
    Call("fcntl", (_integer(1, fcntl.F_DUPFD_CLOEXEC),)),
    *(
        Call("setsockopt", (_integer(1, level), _integer(2, option)))
        for level, option in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        )
    ),
)
if sys.version_info >= (3, 12):
    # asyncio sends lists so. Where a connection has its peer, TCP looks at no address but with
    # MSG_FASTOPEN (net/ipv4/tcp.c, tcp_sendmsg_locked).
    EXPORTER = (*EXPORTER, Call("sendmsg", (With(2, _MSG_FASTOPEN, 0),)))

# Files that are read anew when they change, for which Landlock names the directories.
_READING = (
    Call("openat", (With(2, _INT & ~(os.O_CLOEXEC | _O_LARGEFILE), os.O_RDONLY),)),
    *_plain("lseek"),
)

# With a web config: its files, and threads in which passwords are checked.
WEB_CONFIG = (
    *_READING,
    Call("clone", (With(0, _WORD & ~_CLONE_DETACHED, _NEW_THREAD),)),
    # Its flags are in memory. The C library takes clone where there is none.
    Call("clone3", error=errno.ENOSYS),
    # A thread's beginning, its number for Python, and its stack's end.
    *_plain("set_robust_list", "rseq", "gettid"),
    Call("madvise", (_integer(2, _MADV_DONTNEED),)),
)

# To push. What is connected to, the filter cannot see: of TCP Landlock holds the ports, and the
# lengths are those of the two internet addresses, so that the unix sockets that are open reach
# nowhere else, but where a path is as short.
PUSH = (
    *_opening(socket.SOCK_STREAM, socket.IPPROTO_TCP),
    *(Call("connect", (_integer(2, length),)) for length in _ADDRESS_BYTES),
    # Whether a connection came about.
    Call("getsockopt", (_integer(1, socket.SOL_SOCKET), _integer(2, socket.SO_ERROR))),
)
# To push with credentials, or by a certificate, that are in files.
PUSH_FILES = _READING
# To push to a host by its name: questions to the nameservers.
PUSH_NAMES = _opening(socket.SOCK_DGRAM, socket.IPPROTO_UDP)


class SystemCallFilter:
    """The filter of a half: made while files can be opened still, and entered last."""

    def __init__(self, allowed: Sequence[Call]) -> None:
        """Translate *allowed*.

        Raises: SandboxError if libseccomp is not there.
        """
        answer = ask_child(partial(_program, allowed))
        (self._seccomp,) = _NUMBER.unpack_from(answer)
        self._instructions = answer[_NUMBER.size :]

    def enter(self) -> None:
        """Let through from now on what is allowed, for good.

        Raises: SandboxError if the kernel refuses.
        """
        buffer = ctypes.create_string_buffer(self._instructions, len(self._instructions))
        count = len(self._instructions) // _INSTRUCTION_BYTES
        program = _SOCK_FPROG.pack(count, ctypes.addressof(buffer))
        try:
            libc_call("syscall", self._seccomp, _SET_MODE_FILTER, _FILTER_FLAG_SPEC_ALLOW, program)
        except OSError as error:
            raise SandboxError(_refusal(error)) from error


def _program(allowed: Sequence[Call]) -> bytes:
    """Return the number of seccomp(2) here, and the filter as the kernel takes it."""
    library = _library()
    try:
        translated = _translate(library, allowed)
        with os.fdopen(os.memfd_create("filter"), "r+b") as file:
            translated.export_bpf(file)
            file.seek(0)
            instructions = file.read()
    except OSError as error:
        raise SandboxError(_refusal(error)) from error
    number = library.resolve_syscall(library.Arch.NATIVE, "seccomp")
    return _NUMBER.pack(number) + bytes(instructions)


def _library() -> Any:
    # Here, because it looks for libseccomp whenever it is imported.
    try:
        import pyseccomp
    except (RuntimeError, OSError) as error:
        raise SandboxError(
            "sandbox: libseccomp is missing; on Debian: apt install libseccomp2; or name seccomp in"
            " sandbox.absent"
        ) from error
    return pyseccomp


def _translate(library: Any, allowed: Sequence[Call]) -> Any:
    made = library.SyscallFilter(library.ERRNO(errno.EPERM))
    made.set_attr(library.Attr.ACT_BADARCH, library.KILL_PROCESS)
    # libseccomp 2.4 does not know it yet, and lets nothing through for the lack of it.
    with contextlib.suppress(OSError):
        made.set_attr(library.Attr.CTL_OPTIMIZE, _BINARY_TREE)
    for call in allowed:
        number = library.resolve_syscall(library.Arch.NATIVE, call.name)
        if number == _UNKNOWN:
            continue  # to a libseccomp that is older than the call: it stays refused
        conditions = [
            library.Arg(each.argument, library.MASKED_EQ, each.mask, each.value)
            for each in call.arguments
        ]
        action = library.ERRNO(call.error) if call.error else library.ALLOW
        made.add_rule(action, number, *conditions)
    return made


def _refusal(error: OSError) -> str:
    return (
        f"sandbox: seccomp was refused: {error.strerror}; it takes Linux 4.17 or newer, built with"
        " CONFIG_SECCOMP_FILTER; or name seccomp in sandbox.absent"
    )

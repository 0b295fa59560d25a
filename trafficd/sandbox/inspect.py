"""What root can ask the kernel about another process: its filters and what it has open.

Nothing here is called by a half. A thread is stopped for as long as its filters take to read, and
goes on in any case: the kernel lets it go when the one who stopped it ends (ptrace(2)).
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from trafficd.sandbox.libc import libc_call
from trafficd.sandbox.socket_filter import Instruction, Program

# linux/ptrace.h
_PTRACE_DETACH = 17
_PTRACE_SEIZE = 0x4206
_PTRACE_INTERRUPT = 0x4207
_PTRACE_SECCOMP_GET_FILTER = 0x420C
_PTRACE_EVENT_STOP = 128
_WALL = 0x40000000  # linux/wait.h: threads as well
# asm-generic/unistd.h: the same numbers on every architecture that Python runs on.
_PIDFD_GETFD = 438
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_CREATE_RULESET_VERSION = 1  # linux/landlock.h
# linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info) with the 72 bytes of its second version.
_PIDFD_GET_INFO = 0xC048FF0B
_PIDFD_INFO_COREDUMP = 1 << 4
_COREDUMP_MASK_AT = 64
_PIDFD_INFO_BYTES = 72
# linux/netlink.h
_SOL_NETLINK = 270
_NETLINK_LIST_MEMBERSHIPS = 9
# A bit a group; no protocol has that many (linux/rtnetlink.h: 36).
_MEMBERSHIP_BYTES = 128
_SOCK_FILTER = struct.Struct("=HBBI")

# Far longer than a thread takes to stop, unless it waits for a disk that does not answer.
_STOP_SECONDS = 3.0
_LOOK_SECONDS = 0.002
# Linux 6.18 has some 470; what is behind is refused as unknown by the kernel itself.
_MOST_SYSTEM_CALLS = 1024
# More than the kernel lets a thread have: 32,768 instructions (linux/filter.h, kernel/seccomp.c).
_MOST_FILTERS = 1024


def seccomp_programs(thread: int) -> tuple[Program, ...]:
    """Return the seccomp programs of *thread*, which is stopped for a moment.

    Raises: OSError; ENOSYS or EIO without CONFIG_CHECKPOINT_RESTORE, EACCES where this process is
    itself under seccomp or not root of the machine, TimeoutError if the thread does not stop.
    Source: ptrace(2), PTRACE_SECCOMP_GET_FILTER.
    """
    with _stopped(thread):
        found = []
        for number in range(_MOST_FILTERS):
            try:
                count = libc_call("ptrace", _PTRACE_SECCOMP_GET_FILTER, thread, number, 0)
            except OSError as error:
                # No filter of that number; none at all (kernel/seccomp.c, get_nth_filter).
                if error.errno in (errno.ENOENT, errno.EINVAL):
                    break
                raise
            code = ctypes.create_string_buffer(count * _SOCK_FILTER.size)
            place = ctypes.addressof(code)
            libc_call("ptrace", _PTRACE_SECCOMP_GET_FILTER, thread, number, place)
            found.append(tuple(Instruction(*each) for each in _SOCK_FILTER.iter_unpack(code.raw)))
        return tuple(found)


def duplicated_socket(pidfd: int, descriptor: int) -> socket.socket:
    """Return another descriptor of a socket that another process has open.

    The socket itself is shared: who has the duplicate must take nothing from it.
    Raises: OSError.
    """
    taken = libc_call("syscall", _PIDFD_GETFD, pidfd, descriptor, 0)
    try:
        return socket.socket(fileno=taken)
    except OSError:
        os.close(taken)
        raise


def joined_groups(netlink: socket.socket) -> tuple[int, ...]:
    """Return the numbers of the multicast groups that a netlink socket hears (netlink(7))."""
    bits = netlink.getsockopt(_SOL_NETLINK, _NETLINK_LIST_MEMBERSHIPS, _MEMBERSHIP_BYTES)
    # Words of 32 bits in host order, group 1 in the lowest bit of the first.
    words = [each for (each,) in struct.iter_unpack("=I", bits[: len(bits) // 4 * 4])]
    return tuple(
        32 * place + bit + 1
        for place, word in enumerate(words)
        for bit in range(32)
        if word >> bit & 1
    )


def coredump_mask(pidfd: int) -> int | None:
    """Return what Linux 6.16 and newer say of a process's dumps; None on an older kernel.

    Shape: PIDFD_COREDUMP_SKIP (2), _USER (4) or _ROOT (8) of linux/pidfd.h.
    """
    info = bytearray(struct.pack("=Q", _PIDFD_INFO_COREDUMP).ljust(_PIDFD_INFO_BYTES, b"\0"))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    (answered,) = struct.unpack_from("=Q", info)
    (mask,) = struct.unpack_from("=I", info, _COREDUMP_MASK_AT)
    return int(mask) if answered & _PIDFD_INFO_COREDUMP else None


def system_calls() -> dict[str, int]:
    """Return the numbers of all system calls of this architecture that libseccomp knows, by name.

    Raises: OSError if libseccomp is not there.
    """
    try:
        # It looks for libseccomp by running ldconfig: not at every import.
        import pyseccomp
    except RuntimeError as error:
        raise OSError(errno.ENOENT, "libseccomp is missing; apt install libseccomp2") from error
    found = {}
    for number in range(_MOST_SYSTEM_CALLS):
        with contextlib.suppress(ValueError):
            found[pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, number).decode()] = number
    return found


def landlock_version() -> int:
    """Return the newest Landlock ABI that the kernel offers.

    Raises: OSError if it has none.
    """
    arguments = (None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    return libc_call("syscall", _LANDLOCK_CREATE_RULESET, *arguments)


@contextlib.contextmanager
def inside_network_of(process: int) -> Iterator[None]:
    """Be in the network namespace of *process* for a while; called where there is one thread.

    Raises: OSError.
    """
    with (
        Path("/proc/thread-self/ns/net").open("rb") as here,
        Path(f"/proc/{process}/ns/net").open("rb") as there,
    ):
        libc_call("setns", there.fileno(), 0)
        try:
            yield
        finally:
            libc_call("setns", here.fileno(), 0)


@contextlib.contextmanager
def _stopped(thread: int) -> Iterator[None]:
    libc_call("ptrace", _PTRACE_SEIZE, thread, 0, 0)
    passed_on = 0
    try:
        libc_call("ptrace", _PTRACE_INTERRUPT, thread, 0, 0)
        passed_on = _wait_for_stop(thread)
        yield
    finally:
        # Where it did not stop it cannot be let go: the kernel does, when this process ends.
        with contextlib.suppress(OSError):
            libc_call("ptrace", _PTRACE_DETACH, thread, 0, passed_on)


def _wait_for_stop(thread: int) -> int:
    """Return the signal that was about to be delivered, which letting go must not lose; or 0."""
    for _ in range(int(_STOP_SECONDS / _LOOK_SECONDS)):
        stopped, status = os.waitpid(thread, os.WNOHANG | _WALL)
        if stopped and not os.WIFSTOPPED(status):
            raise ProcessLookupError(errno.ESRCH, "it has ended")
        if stopped:
            return 0 if status >> 16 == _PTRACE_EVENT_STOP else os.WSTOPSIG(status)
        select.select([], [], [], _LOOK_SECONDS)
    raise TimeoutError(f"it did not stop within {_STOP_SECONDS:.0f} s")

"""Attempts to leave a trace: in the process table, in the kernel's own stores, in shared memory.

One is not among them: a process may write into its own arguments, which ps shows until its end. It
would take a process that shows no arguments at all (PR_SET_MM), which then nobody could tell from
others; the README says so.
"""

import ctypes
import mmap
import os
import struct
import time
from collections.abc import Callable
from errno import EINVAL, ENOSYS
from functools import partial
from pathlib import Path

from tests.evil.world import World, attempt, call, in_child, raw

# linux/prctl.h
_PR_SET_NAME, _PR_SET_MM, _PR_SET_MM_MAP = 15, 35, 14
_PR_SET_VMA = 0x53564D41
_IPC_PRIVATE, _IPC_RMID, _IPC_CREAT = 0, 0, 0o1000
_KEY_SPEC_PROCESS_KEYRING = -2
_KEYCTL_REVOKE, _KEYCTL_JOIN_SESSION_KEYRING = 3, 1
# Taken before the half is locked, from proc_pid_stat(5), whose fields count from 1: where its parts
# are, and the arguments among them that ps shows.
_PLACES = [
    0,
    *(int(each) if each.isdigit() else 0 for each in Path("/proc/self/stat").read_text().split()),
]


@attempt(name="a trace: the name of the process")
def _name(world: World) -> str:
    call("prctl", _PR_SET_NAME, b"evil-trace\0", 0, 0, 0)
    return str(world.ask("see process", text="evil-trace"))


@attempt(name="a trace: the arguments of the process, by moving them")
def _move_title(world: World) -> str:
    there = ctypes.create_string_buffer(b"moved in ps", 64)
    start = ctypes.addressof(there)
    code, stack, data, environment = _PLACES[26:28], _PLACES[28], _PLACES[45:47], _PLACES[50:52]
    heap = (_PLACES[47], call("sbrk", 0))
    # struct prctl_mm_map, which needs no right: no auxiliary vector, no other program
    wanted = struct.pack("=12QIi", *code, *data, *heap, stack, start, start + 64, *environment,
                         0, 0, -1)  # fmt: skip
    call("prctl", _PR_SET_MM, _PR_SET_MM_MAP, wanted, len(wanted), 0)
    return str(world.ask("see process", text="moved in ps"))


@attempt(name="a trace: shared memory of System V", absent=(ENOSYS,))
def _shared_memory(_world: World) -> str:
    made = call("shmget", _IPC_PRIVATE, 4096, _IPC_CREAT | 0o600)
    call("shmctl", made, _IPC_RMID, None)
    return "it was made"


@attempt(name="a trace: a message queue of System V", absent=(ENOSYS,))
def _messages(_world: World) -> str:
    made = call("msgget", _IPC_PRIVATE, _IPC_CREAT | 0o600)
    call("msgctl", made, _IPC_RMID, None)
    return "it was made"


@attempt(name="a trace: semaphores of System V", absent=(ENOSYS,))
def _semaphores(_world: World) -> str:
    made = call("semget", _IPC_PRIVATE, 1, _IPC_CREAT | 0o600)
    call("semctl", made, 0, _IPC_RMID, 0)
    return "it was made"


@attempt(name="a trace: a POSIX message queue", absent=(ENOSYS,))
def _posix_queue(_world: World) -> str:
    made = raw("mq_open", b"trafficd-evil\0", os.O_RDWR | os.O_CREAT, 0o600, None)
    os.close(made)
    call("mq_unlink", b"/trafficd-evil\0")
    return "it was made"


@attempt(name="a trace: a POSIX shared memory object")
def _posix_memory(_world: World) -> str:
    made = call("shm_open", b"/trafficd-evil\0", os.O_RDWR | os.O_CREAT, 0o600)
    os.close(made)
    call("shm_unlink", b"/trafficd-evil\0")
    return "it was made"


@attempt(name="a trace: a key in the kernel's store", absent=(ENOSYS,))
def _key(_world: World) -> str:
    def act() -> str:
        key = raw("add_key", b"user\0", b"evil\0", b"trace", 5, _KEY_SPEC_PROCESS_KEYRING)
        raw("keyctl", _KEYCTL_REVOKE, key)
        return "it was kept"

    return in_child(act)


@attempt(name="a trace: a keyring of the kernel's", absent=(ENOSYS,))
def _keyring(_world: World) -> str:
    return in_child(lambda: f"keyring {raw('keyctl', _KEYCTL_JOIN_SESSION_KEYRING, None) > 0}")


@attempt(name="a trace: memory with a name", absent=(ENOSYS,))
def _memory_file(_world: World) -> str:
    os.close(raw("memfd_create", b"evil\0", 0))
    return "it was made"


@attempt(name="a trace: secret memory", absent=(ENOSYS,))
def _secret_memory(_world: World) -> str:
    os.close(raw("memfd_secret", 0))
    return "it was made"


@attempt(name="a trace: a name for a stretch of memory", absent=(EINVAL,))
def _named_memory(_world: World) -> str:
    with mmap.mmap(-1, 4096) as there:
        start = ctypes.addressof(ctypes.c_char.from_buffer(there))
        call("prctl", _PR_SET_VMA, 0, start, 4096, b"evil\0")
        return "it was named"


@attempt(name="a trace: the kernel's log by syslog")
def _kernel_log(_world: World) -> str:
    # SYSLOG_ACTION_SIZE_BUFFER: the least that needs the same right.
    return f"{call('klogctl', 10, None, 0)} bytes of log; {call('klogctl', 9, None, 0)} unread"


@attempt(name="a trace: the host's name")
def _host_name(_world: World) -> str:
    name = os.uname().nodename.encode()
    call("sethostname", name, len(name))
    return "it was set, to what it was"


def _timer(act: Callable[[], object], _world: World) -> str:
    act()
    return "it was set"


def _setitimer() -> None:
    call("setitimer", 0, struct.pack("=qqqq", 0, 0, 0, 0), None)


def _pipe() -> None:
    for each in os.pipe():
        os.close(each)


def _timer_create() -> None:
    there = ctypes.create_string_buffer(8)
    # struct sigevent: SIGEV_NONE
    raw("timer_create", time.CLOCK_MONOTONIC, struct.pack("=Qii48x", 0, 0, 1), there)


def _timer_for_another() -> None:
    there = ctypes.create_string_buffer(8)
    raw("timer_create", time.CLOCK_MONOTONIC, None, there)


for _label, _act in (
    ("an interval timer", _setitimer),
    ("a timer", _timer_create),
    ("a timer that sends a signal", _timer_for_another),
    ("a descriptor that is a timer", lambda: os.close(call("timerfd_create", 1, 0))),
    ("a descriptor that is a signal",
     lambda: os.close(call("signalfd", -1, bytes(128), 0))),
    ("a descriptor that is a counter", lambda: os.close(call("eventfd", 0, 0))),
    ("a pipe", _pipe),
    ("a loop", lambda: os.close(call("epoll_create1", 0))),
    ("another mask for files", lambda: os.umask(os.umask(0o77))),
):  # fmt: skip
    attempt(name=f"something new: {_label}")(partial(_timer, _act))

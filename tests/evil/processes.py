"""Attempts on other processes, on being more than one, and on being somebody else."""

import ctypes
import mmap
import os
import resource
import signal
import struct
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from errno import EINVAL, ENOENT, ENOSYS, EPERM
from functools import partial

from tests.evil.world import World, attempt, call, in_child, raw

# linux/ptrace.h, linux/kcmp.h, linux/sched.h, linux/ioprio.h
_PTRACE_TRACEME, _PTRACE_ATTACH, _PTRACE_DETACH = 0, 16, 17
_KCMP_VM = 1
_IOPRIO_WHO_PROCESS, _IOPRIO_IDLE = 1, 3 << 13
_PR_SET_DUMPABLE, _PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS = 4, 1, 8
_PR_SET_CHILD_SUBREAPER = 36
_CAPABILITIES_3 = 0x20080522
_AT_EMPTY_PATH = 0x1000
_TRUE = "/bin/true"
_MINE = mmap.mmap(-1, mmap.PAGESIZE)

OTHERS = {"the other half": "other", "the agent": "parent", "somebody's session": "session"}


@attempt(name="ptrace: be traced")
def _traceme(_world: World) -> str:
    return in_child(lambda: f"it is let to {call('ptrace', _PTRACE_TRACEME, 0, None, None)}")


def _trace(who: str, world: World) -> str:
    process = world.facts[who]
    call("ptrace", _PTRACE_ATTACH, process, None, None)
    with suppress(OSError):
        call("waitpid", process, None, 0x40000000)  # __WALL
    call("ptrace", _PTRACE_DETACH, process, None, None)
    return f"process {process} was attached to"


def _vector(address: int, count: int) -> bytes:
    return struct.pack("@PN", address, count)


def _copy(name: str, who: str, world: World) -> str:
    process = world.facts[who] if who else os.getpid()
    there = world.facts[f"{who}_address"] if who else _address_of(_MINE)
    here = ctypes.create_string_buffer(8)
    local, remote = _vector(ctypes.addressof(here), 8), _vector(there, 8)
    count = call(name, process, local, 1, remote, 1, 0)
    return f"{count} bytes of process {process}"


def _address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _steal(who: str, world: World) -> str:
    process = raw("pidfd_open", world.facts[who], 0)
    try:
        # Of the other half, its netlink sockets or its releases are among the first.
        wanted = 3 if who == "other" else 2
        os.close(raw("pidfd_getfd", process, wanted, 0))
        return f"descriptor {wanted} was taken"
    finally:
        os.close(process)


def _compare(who: str, world: World) -> str:
    return f"{raw('kcmp', os.getpid(), world.facts[who], _KCMP_VM, 0, 0)}"


def _signal(who: str, world: World) -> str:
    os.kill(world.facts[who], 0)
    return "it is there, and can be sent signals"


def _signal_thread(who: str, world: World) -> str:
    raw("tgkill", world.facts[who], world.facts[who], 0)
    return "it is there, and can be sent signals"


def _queue_signal(who: str, world: World) -> str:
    # struct siginfo: SI_QUEUE
    information = struct.pack("=iii", 0, 0, -1).ljust(128, b"\0")
    raw("rt_sigqueueinfo", world.facts[who], 0, information)
    return "it is there, and can be sent signals"


def _signal_by_descriptor(who: str, world: World) -> str:
    process = raw("pidfd_open", world.facts[who], 0)
    try:
        raw("pidfd_send_signal", process, 0, None, 0)
        return "it is there, and can be sent signals"
    finally:
        os.close(process)


def _priority(who: str, world: World) -> str:
    process = world.facts[who]
    return f"priority {os.getpriority(os.PRIO_PROCESS, process)}"


def _nice(who: str, world: World) -> str:
    process = world.facts[who]
    os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, process))
    return "it can be slowed down"


def _affinity(who: str, world: World) -> str:
    process = world.facts[who]
    os.sched_setaffinity(process, os.sched_getaffinity(process))
    return "it can be moved"


def _schedule(who: str, world: World) -> str:
    os.sched_setscheduler(world.facts[who], os.SCHED_OTHER, os.sched_param(0))
    return "it can be scheduled"


def _limits(who: str, world: World) -> str:
    return f"limits {resource.prlimit(world.facts[who], resource.RLIMIT_CORE)}"


def _disk_priority(who: str, world: World) -> str:
    raw("ioprio_set", _IOPRIO_WHO_PROCESS, world.facts[who], _IOPRIO_IDLE)
    return "it can be slowed down"


def _session_of(who: str, world: World) -> str:
    return f"session {os.getsid(world.facts[who])}"


for _who, _key in OTHERS.items():
    for _label, _act in (
        ("ptrace: attach to", _trace),
        ("read the memory of", partial(_copy, "process_vm_readv")),
        ("write the memory of", partial(_copy, "process_vm_writev")),
        ("take a descriptor of", _steal),
        ("compare memory with", _compare),
        ("signal", _signal),
        ("signal the thread of", _signal_thread),
        ("queue a signal for", _queue_signal),
        ("signal by a descriptor", _signal_by_descriptor),
        ("the priority of", _priority),
        ("set the priority of", _nice),
        ("set the processors of", _affinity),
        ("set the schedule of", _schedule),
        ("set the disk priority of", _disk_priority),
        ("the limits of", _limits),
        ("the session of", _session_of),
    ):
        attempt(name=f"{_label} {_who}")(partial(_act, _key))
attempt(name="read its own memory by process_vm_readv")(partial(_copy, "process_vm_readv", ""))
attempt(name="write its own memory by process_vm_writev")(partial(_copy, "process_vm_writev", ""))


@attempt(name="be two: fork")
def _fork(_world: World) -> str:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return f"process {child}"


@attempt(name="be two: clone")
def _clone(_world: World) -> str:
    child = raw("clone", int(signal.SIGCHLD), 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return f"process {child}"


@attempt(name="be two: clone3", absent=(ENOSYS,))
def _clone3(_world: World) -> str:
    # struct clone_args: flags, four pointers, exit_signal
    wanted = struct.pack("=11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    child = raw("clone3", wanted, len(wanted))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return f"process {child}"


@attempt(name="be two: posix_spawn, which is vfork and exec")
def _spawn(_world: World) -> str:
    child = os.posix_spawn(_TRUE, [_TRUE], {})
    os.waitpid(child, 0)
    return f"process {child}"


@attempt(name="be two: subprocess")
def _subprocess(_world: World) -> str:
    return f"exit status {subprocess.run([_TRUE], check=False).returncode}"


@attempt(name="be two: a thread that is not locked")
def _thread(world: World) -> str:
    learned: list[str] = []
    refused: list[OSError] = []

    def act() -> None:
        try:
            with open(world.facts["file"], "rb") as opened:  # noqa: PTH123  # the plainest way
                learned.append(world.found(opened.read()))
        except OSError as error:
            refused.append(error)

    thread = threading.Thread(target=act)
    try:
        thread.start()
    except RuntimeError as error:
        # What Python says when no thread can be made.
        raise PermissionError(EPERM, str(error)) from error
    thread.join()
    if refused:
        raise refused[0]
    return learned[0]


@attempt(name="be another program: execve")
def _execve(_world: World) -> str:
    return _executed(lambda: os.execve(_TRUE, [_TRUE], {}))


@attempt(name="be another program: execveat, of memory")
def _exec_memory(_world: World) -> str:
    def act() -> None:
        program = raw("memfd_create", b"evil\0", 0)
        with open(_TRUE, "rb") as opened:  # noqa: PTH123  # its own descriptor, for its own program
            os.write(program, opened.read())
        arguments = struct.pack("@P", 0)
        raw("execveat", program, b"\0", arguments, arguments, _AT_EMPTY_PATH)

    return _executed(act)


@attempt(name="be another program: execveat, of an open descriptor")
def _exec_descriptor(_world: World) -> str:
    # Standard error is no program, which is found out where executing is allowed.
    arguments = struct.pack("@P", 0)
    try:
        raw("execveat", 2, b"\0", arguments, arguments, _AT_EMPTY_PATH)
    except OSError as error:
        if error.errno in (13, 8):
            # EACCES, for want of a mode to execute: seccomp says EPERM.
            return "the call was considered"
        raise
    return "it did"


def _executed(act: Callable[[], object]) -> str:
    """Try to become another program, in a child where one can be made."""
    try:
        child = os.fork()
    except OSError:
        act()
        return "it went on, which nobody does who became another"
    if child == 0:
        with suppress(OSError):
            act()
        os._exit(111)
    _, status = os.waitpid(child, 0)
    return "" if os.waitstatus_to_exitcode(status) == 111 else "a program was run"


def _become(act: Callable[[], object], _world: World) -> str:
    return in_child(lambda: f"it was let to: {act()}")


def _limit_of_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE))


def _capset() -> None:
    every = struct.pack("=6I", *([0xFFFFFFFF] * 6))
    held = ctypes.create_string_buffer(24)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITIES_3, 0), 8)
    call("capget", header, held)
    # In a control run, what it has; where nothing is held, everything.
    call("capset", header, held.raw if any(held.raw) else every)


for _name, _do in (
    ("root by setuid", lambda: os.setuid(0)),
    ("root by setresuid", lambda: os.setresuid(0, 0, 0)),
    ("root's group", lambda: os.setgid(0)),
    ("in other groups", lambda: os.setgroups([0])),
    ("able, by capset", _capset),
    ("able again after a change of identity", lambda: call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)),
    ("dumpable", lambda: call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)),
    ("deaf to the end of the agent", lambda: call("prctl", _PR_SET_PDEATHSIG, 0, 0, 0, 0)),
    ("a reaper of others' children", lambda: call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)),
    ("dumped, by a limit", _limit_of_core),
    ("in a session of its own", os.setsid),
    ("in a group of its own", lambda: os.setpgid(0, 0)),
    ("of another personality", lambda: call("personality", 0x0040000)),
):
    attempt(name=f"be {_name}", absent=(EINVAL, ENOENT))(partial(_become, _do))


@attempt(name="have the memory of the other half swapped out")
def _advise(world: World) -> str:
    process = raw("pidfd_open", world.facts["other"], 0)
    try:
        there = _vector(world.facts["other_address"], mmap.PAGESIZE)
        count = raw("process_madvise", process, there, 1, 20, 0)
        return f"{count} bytes were made cold"
    finally:
        os.close(process)

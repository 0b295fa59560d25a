"""Attempts to bring code of one's own, or to have the memory dumped: some of them end the half."""

import ctypes
import mmap
import os
import platform
from errno import EINVAL, ENOSYS

from tests.evil.world import NotOfferedError, World, attempt, call

_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_SHM_EXEC, _IPC_CREAT, _IPC_RMID = 0o100000, 0o1000, 0
# getpid of a 32-bit program: mov eax, 20; int 0x80; ret
_OF_32_BITS = bytes.fromhex("b814000000cd80c3")
_X32 = 0x40000000
_GETPID = 39


def _code() -> int:
    """Return where code for another architecture stands; made before the half is locked."""
    if platform.machine() != "x86_64":
        return 0
    where = call("mmap", None, mmap.PAGESIZE, 7, _PRIVATE, -1, 0)
    ctypes.memmove(where, _OF_32_BITS, len(_OF_32_BITS))
    return where


_CODE = _code()


@attempt(name="code of one's own: new memory that can be executed")
def _map(_world: World) -> str:
    where = call("mmap", None, mmap.PAGESIZE, 7, _PRIVATE, -1, 0)
    call("munmap", where, mmap.PAGESIZE)
    return "it was made"


@attempt(name="code of one's own: memory made executable")
def _protect(_world: World) -> str:
    where = call("mmap", None, mmap.PAGESIZE, _READ_WRITE, _PRIVATE, -1, 0)
    try:
        call("mprotect", where, mmap.PAGESIZE, 5)
        return "it was made so"
    finally:
        call("munmap", where, mmap.PAGESIZE)


@attempt(name="code of one's own: memory made executable by a key", absent=(ENOSYS,))
def _protect_by_key(_world: World) -> str:
    where = call("mmap", None, mmap.PAGESIZE, _READ_WRITE, _PRIVATE, -1, 0)
    try:
        call("pkey_mprotect", where, mmap.PAGESIZE, 5, -1)
        return "it was made so"
    finally:
        call("munmap", where, mmap.PAGESIZE)


@attempt(name="code of one's own: shared memory that can be executed", absent=(ENOSYS,))
def _attach(_world: World) -> str:
    made = call("shmget", 0, mmap.PAGESIZE, _IPC_CREAT | 0o700)
    try:
        call("shmdt", ctypes.c_void_p(call("shmat", made, None, _SHM_EXEC)).value or 0)
        return "it was attached"
    finally:
        call("shmctl", made, _IPC_RMID, None)


@attempt(name="code of one's own: call of another kind", absent=(ENOSYS,), is_deadly=True)
def _x32(_world: World) -> str:
    if platform.machine() != "x86_64":
        raise NotOfferedError("x86 only")
    return f"process {call('syscall', _X32 | _GETPID)}"


@attempt(name="code of one's own: system calls of 32 bits", is_deadly=True)
def _int80(_world: World) -> str:
    if not _CODE:
        raise NotOfferedError("x86 only")
    return f"process {ctypes.CFUNCTYPE(ctypes.c_int)(_CODE)()}"


@attempt(name="code of one's own: segments", absent=(ENOSYS, EINVAL))
def _segments(_world: World) -> str:
    if platform.machine() != "x86_64":
        raise NotOfferedError("x86 only")
    return f"{call('syscall', 154, 0, ctypes.create_string_buffer(64), 64)} bytes"


# Each of these ends the half, and is tried with something there to catch the dump.
BY_ABORT, BY_FAULT = "be dumped: by an abort", "be dumped: by a fault"
FROM_OUTSIDE = "be dumped: by a signal from outside"


@attempt(name=BY_ABORT, is_deadly=True)
def _abort(_world: World) -> str:
    os.abort()


@attempt(name=FROM_OUTSIDE, is_deadly=True)
def _killed(world: World) -> str:
    world.ask("send SIGABRT")
    return "it went on"


@attempt(name=BY_FAULT, is_deadly=True)
def _fault(_world: World) -> str:
    return f"{ctypes.string_at(0)!r}"

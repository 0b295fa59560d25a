"""The memory of the state: a file on tmpfs, mapped, or memory that ends with the process.

The descriptor is closed as soon as the file is mapped, so the reader has no open file. The kernel
keeps the lock on it as long as the mapping lives (flock(2)).
"""

import fcntl
import os
import stat
from pathlib import Path

from trafficd.continuity.journal import STATE_BYTES
from trafficd.errors import StateError
from trafficd.sandbox.libc import file_system_type, map_memory, map_shared

_TMPFS = 0x01021994  # linux/magic.h
_OWNER_ONLY = 0o600


def open_state(path: Path) -> memoryview:
    """Return the memory of the state at *path*, which is made if it is not there.

    Raises: StateError if it is not on tmpfs, another reader has it, or it is not ours alone.
    """
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _OWNER_ONLY
        )
    except OSError as error:
        raise StateError(f"state: {path}: cannot be opened: {error.strerror}") from error
    try:
        _check(descriptor, path)
        return map_shared(descriptor, STATE_BYTES)
    except OSError as error:
        raise StateError(f"state: {path}: cannot be mapped: {error.strerror}") from error
    finally:
        os.close(descriptor)


def state_in_memory() -> memoryview:
    """Return memory for the state of a run that nothing has to outlive."""
    return map_memory(STATE_BYTES)


def _check(descriptor: int, path: Path) -> None:
    if file_system_type(descriptor) != _TMPFS:
        raise StateError(
            f"state: {path}: not on a tmpfs, and nothing is written to a disk; name a place in RAM,"
            " like /run/trafficd or /dev/shm/trafficd, or `--state none`"
        )
    status = os.fstat(descriptor)
    if (
        not stat.S_ISREG(status.st_mode)
        or stat.S_IMODE(status.st_mode) != _OWNER_ONLY
        or status.st_uid != os.geteuid()
        or status.st_nlink != 1
    ):
        raise StateError(f"state: {path}: not a file of mode 0600 of this user's own; remove it")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(f"state: {path}: another reader has it") from None
    if status.st_size == 0:
        os.ftruncate(descriptor, STATE_BYTES)
    elif status.st_size != STATE_BYTES:
        raise StateError(
            f"state: {path}: {status.st_size} bytes, expected {STATE_BYTES}: of another version;"
            " install that one again, or remove the state to begin a new run of totals"
        )

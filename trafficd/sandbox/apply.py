"""The order of the layers, from root to a process that can do nothing but its work.

What needs root goes first; the filter of system calls, which forbids the making of all others, goes
last. A layer that the configuration names as absent is left out; any other that fails ends the
process.
"""

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from trafficd.config import Layer, SandboxSettings
from trafficd.errors import SandboxError
from trafficd.sandbox import seccomp
from trafficd.sandbox.identity import become_unprivileged
from trafficd.sandbox.landlock import restrict_paths
from trafficd.sandbox.memory import hide_memory, keep_out_of_swap, lift_limit_of_locked_memory
from trafficd.sandbox.seccomp import SystemCallFilter

_TASKS = Path("/proc/self/task")
_ROOT_DIRECTORY = Path("/")
_STANDARD_INPUT, _STANDARD_OUTPUT = 0, 1


class Half(StrEnum):
    """Which of the two is locked: they need different things."""

    READER = "reader"
    EXPORTER = "exporter"


def enter_sandbox(
    half: Half, settings: SandboxSettings, *, readable: Sequence[Path] | None = None
) -> None:
    """Lock this process for good.

    *readable* is for an exporter with a web config: the directories it is read anew from.
    Called once, when everything is open, and while there is one thread: layers are a thread's.
    Raises: SandboxError with what failed and what to do; half of it may be in force by then.
    """
    _refuse_threads()
    if _ROOT_DIRECTORY in (readable or ()):
        raise SandboxError(
            "sandbox: a web config and the files it names cannot stand in /, which would have to be"
            " readable with all beneath it; move them to a directory"
        )
    system_calls = None
    if Layer.SECCOMP not in settings.absent:
        system_calls = SystemCallFilter(_allowed(half, reads_files=readable is not None))
    if Layer.SWAP not in settings.absent:
        lift_limit_of_locked_memory()
    _leave_standard_streams()
    become_unprivileged(settings.user)
    if Layer.SWAP not in settings.absent:
        keep_out_of_swap()
    hide_memory()
    if Layer.LANDLOCK not in settings.absent:
        restrict_paths(readable or ())
    if system_calls is not None:
        system_calls.enter()


def _allowed(half: Half, *, reads_files: bool) -> Sequence[seccomp.Call]:
    if half is Half.READER:
        return seccomp.READER
    return (*seccomp.EXPORTER, *(seccomp.WEB_CONFIG if reads_files else ()))


def _refuse_threads() -> None:
    try:
        count = len(list(_TASKS.iterdir()))
    except OSError as error:
        raise SandboxError(f"sandbox: /proc cannot be read: {error.strerror}; mount it") from error
    if count != 1:
        raise SandboxError(f"sandbox: {count} threads are running; only one would be locked")


def _leave_standard_streams() -> None:
    """Take input and output away; the log's stream stays."""
    try:
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for standard in (_STANDARD_INPUT, _STANDARD_OUTPUT):
            os.dup2(nowhere, standard)
    except OSError as error:
        raise SandboxError(f"sandbox: {os.devnull}: {error.strerror}") from error
    if nowhere > _STANDARD_OUTPUT:
        os.close(nowhere)

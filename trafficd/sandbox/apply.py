"""The order of the layers, from root to a process that can do nothing but its work.

What needs root goes first; the filter of system calls, which forbids the making of all others, goes
last. A layer that the configuration names as absent is left out; any other that fails ends the
process.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from trafficd.config import Layer, SandboxSettings
from trafficd.destinations import Destination
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


@dataclass(frozen=True, slots=True)
class WayOut:
    """What an exporter needs that pushes.

    *ports* are those of its destinations, *readable* the directories of their files, if any. With
    *asks_names*, it may send datagrams to nameservers, and so to anybody.
    """

    ports: tuple[int, ...]
    readable: tuple[Path, ...] = ()
    asks_names: bool = False

    @classmethod
    def to(cls, destinations: Sequence[Destination], readable: Iterable[Path]) -> Self | None:
        """Return the way to *destinations*, whose files are in *readable*; None to nobody."""
        if not destinations:
            return None
        return cls(
            ports=tuple(sorted({each.url.port for each in destinations})),
            readable=tuple(sorted(set(readable))),
            asks_names=any(each.url.has_name for each in destinations),
        )


def enter_sandbox(
    half: Half,
    settings: SandboxSettings,
    *,
    readable: Sequence[Path] | None = None,
    way_out: WayOut | None = None,
) -> None:
    """Lock this process for good.

    *readable* is for an exporter with a web config: the directories it is read anew from. *way_out*
    is for one that pushes.
    Called once, when everything is open, and while there is one thread: layers are a thread's.
    Raises: SandboxError with what failed and what to do; half of it may be in force by then.
    """
    _refuse_threads()
    if _ROOT_DIRECTORY in (readable or ()):
        raise SandboxError(
            "sandbox: a web config and the files it names cannot stand in /, which would have to be"
            " readable with all beneath it; move them to a directory"
        )
    if way_out is not None and _ROOT_DIRECTORY in way_out.readable:
        raise SandboxError(
            "sandbox: files that push names cannot stand in /, which would have to be readable with"
            " all beneath it; move them to a directory"
        )
    system_calls = None
    if Layer.SECCOMP not in settings.absent:
        system_calls = SystemCallFilter(
            calls(half, has_web_config=readable is not None, way_out=way_out)
        )
    if Layer.SWAP not in settings.absent:
        lift_limit_of_locked_memory()
    _leave_standard_streams()
    become_unprivileged(settings.user)
    if Layer.SWAP not in settings.absent:
        keep_out_of_swap()
    hide_memory()
    if Layer.LANDLOCK not in settings.absent:
        restrict_paths(
            (*(readable or ()), *(way_out.readable if way_out else ())),
            way_out.ports if way_out else (),
        )
    if system_calls is not None:
        system_calls.enter()


def calls(
    half: Half, *, has_web_config: bool = False, way_out: WayOut | None = None
) -> Sequence[seccomp.Call]:
    """Return the system calls that *half* is left."""
    if half is Half.READER:
        return seccomp.READER
    allowed = (*seccomp.EXPORTER, *(seccomp.WEB_CONFIG if has_web_config else ()))
    if way_out is not None:
        allowed += seccomp.PUSH
        allowed += seccomp.PUSH_FILES if way_out.readable else ()
        allowed += seccomp.PUSH_NAMES if way_out.asks_names else ()
    return tuple(dict.fromkeys(allowed))


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

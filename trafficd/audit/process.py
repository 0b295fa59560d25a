"""Gathers what the kernel says about one running half."""

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import trafficd
from trafficd.audit import proc
from trafficd.audit.descriptors import open_descriptors
from trafficd.audit.facts import Process, Thread
from trafficd.audit.finding import Unread
from trafficd.audit.mappings import memory_mappings
from trafficd.errors import TrafficdError
from trafficd.sandbox.apply import Half
from trafficd.sandbox.inspect import coredump_mask, seccomp_programs

# python(1) and ld.so(8): variables by which a program loads code that its files do not name.
_INJECTING = (
    "PYTHONPATH", "PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX",
    "PYTHONINSPECT", "PYTHONBREAKPOINT", "PYTHONWARNINGS", "PYTHONEXECUTABLE", "LD_PRELOAD",
    "LD_AUDIT", "LD_LIBRARY_PATH", "GCONV_PATH", "OPENSSL_CONF", "OPENSSL_MODULES",
    "OPENSSL_ENGINES",
)  # fmt: skip
# Options of python(1) that leave the directory it is started in out of the search for modules.
_SAFE_PATH = ("-P", "-I")
_NOTIFY = "NOTIFY_SOCKET="  # sd_notify(3)
_MODULE_ENDS = (".py", ".so", ".pyc")


def gather_process(half: Half, number: int) -> Process:
    """Return the facts about the process *number*.

    Raises: TrafficdError if it ends meanwhile, or cannot be inspected at all.
    """
    directory = proc.PROC / str(number)
    try:
        pidfd = os.pidfd_open(number)
        try:
            return _gather(half, number, directory, pidfd)
        finally:
            os.close(pidfd)
    except (OSError, LookupError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it gave no sense"
        raise TrafficdError(
            f"process {number}, the {half}, cannot be inspected: {reason}; run the audit again"
        ) from error


def _gather(half: Half, number: int, directory: Path, pidfd: int) -> Process:
    ticks = proc.start_ticks(number)
    if ticks is None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    threads = tuple(_threads(directory))
    # The order of a directory is not the order of the threads.
    threads = tuple(sorted(threads, key=lambda each: each.number != number))
    words = proc.arguments(number)
    return Process(
        half=half,
        number=number,
        parent=int(threads[0].status["PPid"]),
        start_ticks=ticks,
        started_at=proc.utc_seconds(ticks),
        executable=proc.link(directory / "exe"),
        injected=_injected(directory),
        notify_address=_notify_address(directory),
        network=_network(directory),
        beside=tuple(_beside(directory, words)),
        threads=threads,
        # Not of the directory itself, which is always the process's own (proc(5)).
        files_owner=(directory / "status").stat().st_uid,
        core_limit=_core_limit(directory),
        coredump_mask=coredump_mask(pidfd),
        descriptors=open_descriptors(number, pidfd),
        mappings=memory_mappings(directory),
        swapless_cgroup=_swapless_cgroup(directory),
        writable_mounts=_writable_mounts(directory),
    )


def _threads(directory: Path) -> Iterator[Thread]:
    for number in proc.numbers(directory / "task"):
        status = proc.status(directory / "task" / str(number))
        if not status:
            continue  # it has ended meanwhile
        try:
            yield Thread(number, status, seccomp_programs(number))
        except OSError as error:
            reason = error.strerror or str(error)
            if status.get("TracerPid", "0") != "0":
                reason = f"process {status['TracerPid']} traces it"
            yield Thread(number, status, Unread(reason))


def _injected(directory: Path) -> tuple[str, ...] | Unread:
    said = proc.text(directory / "environ")
    if isinstance(said, Unread):
        return said
    names = {each.partition("=")[0] for each in said.split("\0")}
    return tuple(each for each in _INJECTING if each in names)


def _notify_address(directory: Path) -> str:
    said = proc.text(directory / "environ")
    words = [] if isinstance(said, Unread) else said.split("\0")
    return "".join(each.removeprefix(_NOTIFY) for each in words if each.startswith(_NOTIFY))


def _network(directory: Path) -> int | Unread:
    try:
        return (directory / "ns" / "net").stat().st_ino
    except OSError as error:
        return Unread(error.strerror or str(error))


def _beside(directory: Path, words: list[str]) -> Iterator[str]:
    """Yield what would be imported from the directory it was started in, before the installed."""
    first = words[1 : words.index("-m")] if "-m" in words else _SAFE_PATH
    if set(first) & set(_SAFE_PATH):
        return
    known = _importable()
    with contextlib.suppress(OSError):
        for entry in sorted((directory / "cwd").iterdir()):
            is_module = entry.name.endswith(_MODULE_ENDS) or (entry / "__init__.py").exists()
            if is_module and entry.name.partition(".")[0] in known and not _is_ours(entry):
                yield entry.name


@functools.cache
def _importable() -> frozenset[str]:
    return frozenset((*sys.stdlib_module_names, *packages_distributions(), "trafficd"))


def _is_ours(entry: Path) -> bool:
    return entry.resolve() == Path(trafficd.__file__).resolve().parent


def _core_limit(directory: Path) -> tuple[str, str] | Unread:
    said = proc.text(directory / "limits")
    if isinstance(said, Unread):
        return said
    for line in said.splitlines():
        if line.startswith("Max core file size"):
            soft, hard = line.removeprefix("Max core file size").split()[:2]
            return soft, hard
    return Unread("limits has no line for core files")


def _swapless_cgroup(directory: Path) -> str:
    """Return the cgroup, own or above, that may not swap; nothing if there is none."""
    memberships = proc.text(directory / "cgroup")
    mounts = proc.text(proc.PROC / "self" / "mountinfo")
    if isinstance(memberships, Unread) or isinstance(mounts, Unread):
        return ""
    places = [line.removeprefix("0::") for line in memberships.splitlines() if line[:3] == "0::"]
    for fields in (line.split() for line in mounts.splitlines()):
        # proc_pid_mountinfo(5): root and mount point; the type follows a lone hyphen.
        if not places or fields[fields.index("-") + 1] != "cgroup2":
            continue
        for each in (place := Path(places[0].lstrip("/")), *place.parents):
            limit = proc.text(Path(fields[4], each, "memory.swap.max"))
            if limit == "0\n":
                return str(Path(fields[4], each))
    return ""


def _writable_mounts(directory: Path) -> int | Unread:
    said = proc.text(directory / "mountinfo")
    if isinstance(said, Unread):
        return said
    return sum("rw" in line.split()[5].split(",") for line in said.splitlines())

"""Judges where the reader's state lies: what a reader that is started again goes on from.

A file on tmpfs is memory, and memory can be swapped out. While the reader runs, what it has touched
of the mapping is locked with all the rest of its memory (mlockall(2)). While it is away, nobody
has it mapped, so nothing of it is locked.
"""

from collections.abc import Iterator

from trafficd.audit.facts import Host, MappedFile, MemoryMapping, Process
from trafficd.audit.finding import Finding, Unread, judge, unread
from trafficd.sandbox.apply import Half

_ROOT = 0
_OWNER_ONLY = 0o600
_NONE = "it keeps none: what it knows ends with it"
_MEND = "stop the reader, remove the file, and start it with --state on a tmpfs"
_SWAP_MEND = (
    "turn swap off (swapoff -a, and out of /etc/fstab), or mount a tmpfs with the option noswap for"
    " the state (Linux 6.4 and newer)"
)


def state_findings(reader: Process, host: Host) -> Iterator[Finding]:
    """Judge the file, and whether it can be swapped out."""
    if isinstance(reader.mappings, Unread):
        for each in ("reader.state", "reader.state_swap"):
            yield unread(each, _source(reader), reader.mappings)
        return
    shared = [each for each in reader.mappings if each.is_shared]
    yield _file(reader, shared)
    yield _swap(reader, shared, host)


def state_of(process: Process) -> MemoryMapping | None:
    """Return the mapping of the state: the one of the reader's that is as it should be."""
    if process.half is not Half.READER or isinstance(process.mappings, Unread):
        return None
    sound = [each for each in process.mappings if each.is_shared and not _problems(each, process)]
    return sound[0] if len(sound) == 1 else None


def _file(reader: Process, shared: list[MemoryMapping]) -> Finding:
    identity, source = "reader.state", _source(reader)
    if not shared:
        return judge(identity, True, source, _NONE)
    state = state_of(reader)
    if state is None or not isinstance(state.file, MappedFile):
        wrong = [
            f"{each.path}: {', '.join(_problems(each, reader)) or 'one of several'}"
            for each in shared
        ]
        is_sure = all(not isinstance(each.file, Unread) for each in shared)
        return judge(identity, False if is_sure else None, source, "; ".join(wrong), mend=_MEND)
    still_open = [
        each.number
        for each in (() if isinstance(reader.descriptors, Unread) else reader.descriptors)
        if each.target == state.path
    ]
    evidence = (
        f"it is open as {still_open[0]}"
        if still_open
        else f"{state.path}: tmpfs, {state.file.size} bytes, mode {state.file.mode:04o}, owner"
        f" {state.file.owner}, {state.file.links} link; mapped, and open as no descriptor"
    )
    return judge(identity, not still_open, source, evidence, mend=_MEND)


def _problems(each: MemoryMapping, reader: Process) -> list[str]:
    if not isinstance(each.file, MappedFile):
        return [f"cannot be asked: {each.file.reason}" if each.file else "no file"]
    owners = (_ROOT, int(reader.status.get("Uid", "0").split()[0]))
    problems = {
        "not on a tmpfs": not each.file.is_on_tmpfs,
        "no regular file": not each.file.is_regular,
        f"mode {each.file.mode:04o}": each.file.mode != _OWNER_ONLY,
        f"owner {each.file.owner}": each.file.owner not in owners,
        f"{each.file.links} links": each.file.links != 1,
    }
    return [words for words, is_there in problems.items() if is_there]


def _swap(reader: Process, shared: list[MemoryMapping], host: Host) -> Finding:
    identity = "reader.state_swap"
    source = f"/proc/{reader.number}/smaps Swap VmFlags, mountinfo; /proc/swaps"
    swapped = [each for each in shared if each.swapped.split()[0] != "0"]
    if not shared:
        return judge(identity, True, source, _NONE)
    if swapped:
        evidence = f"{swapped[0].swapped} of it are swapped out"
        return judge(identity, False, source, evidence, mend=_SWAP_MEND)
    if isinstance(host.swaps, Unread):
        return unread(identity, source, host.swaps, mend=_SWAP_MEND)
    if host.swaps == 0:
        return judge(identity, True, source, "the host has no swap areas now")
    options = [each.file.mount_options for each in shared if isinstance(each.file, MappedFile)]
    if options and all(not isinstance(each, Unread) and "noswap" in each for each in options):
        return judge(identity, True, source, "its tmpfs is mounted with noswap")
    held = "is locked" if all(each.is_locked for each in shared) else "is not locked"
    told = f"the host has {host.swaps} swap areas; while the reader runs, it {held}"
    if reader.swapless_cgroup:
        # Pages stay in the accounts of a cgroup that is gone, for how long is the kernel's matter.
        evidence = (
            f"{told}, and memory.swap.max is 0 in {reader.swapless_cgroup}; whether that still"
            " holds while the reader is away, and its cgroup gone, the kernel does not tell"
        )
        return judge(identity, None, source, evidence, mend=_SWAP_MEND)
    evidence = f"{told}; while it is away, nothing keeps it out of swap"
    return judge(identity, False, source, evidence, mend=_SWAP_MEND)


def _source(reader: Process) -> str:
    return f"/proc/{reader.number}/smaps, map_files; fstat(2), fstatfs(2)"

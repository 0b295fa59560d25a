"""Judges whether what a half remembers stays in its memory.

Whether a process can be dumped is not in its status. Its files in /proc are root's unless it is as
dumpable as any (proc(5)); then it is dumpable not at all, or for root only, by fs.suid_dumpable,
which a change of identity sets. Linux 6.16 tells one from the other (PIDFD_INFO_COREDUMP).
A limit of 0 stops a core file, and not one that goes to a program through a pipe (core(5)).
"""

from collections.abc import Iterator

from trafficd.audit.checks.state import state_of
from trafficd.audit.facts import Host, Process
from trafficd.audit.finding import Finding, Unread, judge, unread

# linux/pidfd.h
_SKIP, _AS_USER = 1 << 1, 1 << 2
_ROOT = 0
_NO_SWAP = (
    "set LimitMEMLOCK=infinity or MemorySwapMax=0 in the unit, start trafficd as root, or turn"
    " swap off"
)


def memory_findings(process: Process, host: Host) -> Iterator[Finding]:
    """Judge dumps, debuggers, swap, and what is mapped."""
    yield _hidden(process)
    yield _core(process, host)
    yield _swap(process, host)
    yield _kept(process)


def _hidden(process: Process) -> Finding:
    mask = process.coredump_mask
    is_root = process.status.get("Uid", "0").split()[0] == "0"
    evidence = f"owner {process.files_owner}; dumps: {_told(mask)}"
    holds: bool | None = process.files_owner == _ROOT
    if mask is not None:
        holds = not mask & _AS_USER
    elif is_root:
        holds, evidence = None, "it is root itself, so that root's files say nothing"
    source = f"owner of /proc/{process.number}/status; PIDFD_INFO_COREDUMP"
    mend = "this is no running trafficd of this version; restart it"
    return judge(f"{process.half}.memory_hidden", holds, source, evidence, mend=mend)


def _core(process: Process, host: Host) -> Finding:
    identity = f"{process.half}.core"
    source = (
        f"/proc/{process.number}/limits; PIDFD_INFO_COREDUMP or the owner of its files;"
        " /proc/sys/kernel/core_pattern; /proc/sys/fs/suid_dumpable"
    )
    if isinstance(process.core_limit, Unread):
        return unread(identity, source, process.core_limit)
    if isinstance(host.core_pattern, Unread) or isinstance(host.suid_dumpable, Unread):
        return unread(identity, source, Unread("the host's core settings"))
    has_no_file = process.core_limit == ("0", "0")
    has_pipe = host.core_pattern.startswith("|")
    holds: bool | None
    if process.coredump_mask is not None:
        is_never = bool(process.coredump_mask & _SKIP)
        holds = has_no_file and is_never
        told = _told(process.coredump_mask)
    elif process.files_owner != _ROOT:
        holds, told = False, "as any process"
    elif not has_no_file:
        holds, told = False, "not as any process"
    elif has_pipe and host.suid_dumpable != "0":
        # Never, or for root by way of the pipe: this kernel does not say which.
        holds, told = None, "never, or for root: a kernel before 6.16 does not tell"
    else:
        holds, told = True, "not as any process"
    where = "to a program" if has_pipe else "to a file"
    evidence = (
        f"limit {process.core_limit[0]}, hard {process.core_limit[1]}; dumps: {told};"
        f" this host's go {where}; suid_dumpable {host.suid_dumpable}"
    )
    mend = "restart trafficd; on a kernel before 6.16, with sysctl fs.suid_dumpable=0 before"
    return judge(identity, holds, source, evidence, mend=mend)


def _swap(process: Process, host: Host) -> Finding:
    identity = f"{process.half}.swap"
    source = f"/proc/{process.number}/smaps VmFlags, status VmSwap VmLck; memory.swap.max"
    if isinstance(process.mappings, Unread):
        return unread(identity, source, process.mappings)
    loose = [each for each in process.mappings if not each.is_locked and not each.is_special]
    swapped = process.status.get("VmSwap", "0 kB")
    held = "every mapping is locked"
    if loose:
        held = f"{len(loose)} of {len(process.mappings)} mappings are not locked"
        if process.swapless_cgroup:
            held = f"memory.swap.max is 0 in {process.swapless_cgroup}"
    host_swaps = "?" if isinstance(host.swaps, Unread) else host.swaps
    evidence = (
        f"{held}; VmSwap {swapped}; VmLck {process.status.get('VmLck', '?')};"
        f" the host has {host_swaps} swap areas now"
    )
    # What a host without swap would do with memory is not asked: there is nowhere to put it.
    has_nowhere = host.swaps == 0 or bool(process.swapless_cgroup)
    holds = (not loose or has_nowhere) and swapped.split()[0] == "0"
    return judge(identity, holds, source, evidence, mend=_NO_SWAP)


def _kept(process: Process) -> Finding:
    identity, source = f"{process.half}.memory", f"/proc/{process.number}/smaps"
    if isinstance(process.mappings, Unread):
        return unread(identity, source, process.mappings)
    state = state_of(process)
    wrong = [
        f"{each.path or 'memory'} is shared and writable"
        for each in process.mappings
        if each.is_shared and each is not state
    ]
    wrong += [
        f"{each.path or 'memory'} is writable and executable"
        for each in process.mappings
        if "w" in each.permissions and "x" in each.permissions
    ]
    files = {each.path for each in process.mappings if each.is_file and each is not state}
    evidence = "; ".join(wrong) or (
        f"{len(files)} files, mapped read-only or as private copies: the interpreter and libraries"
        f"{'' if state is None else '; and its state, shared'}"
    )
    mend = "this is no running trafficd of this version; restart it"
    return judge(identity, not wrong, source, evidence, mend=mend)


def _told(mask: int | None) -> str:
    if mask is None:
        return "this kernel does not say"
    return "never" if mask & _SKIP else ("as any process" if mask & _AS_USER else "for root")

"""What a half remembers stays in its memory: no core dump, no debugger, no swap."""

import resource
from collections.abc import Iterator
from pathlib import Path

from trafficd.errors import SandboxError
from trafficd.sandbox.libc import libc_call, prctl

# linux/prctl.h
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
# asm-generic/mman.h
_MCL_CURRENT = 1
_MCL_FUTURE = 2
_MCL_ONFAULT = 4

_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
_OWN_CGROUP = Path("/proc/self/cgroup")
_MOUNTS = Path("/proc/self/mountinfo")
_SWAPS = Path("/proc/swaps")
_WHOLE_PROC = Path("/proc/stat")  # not there where /proc is mounted with subset=pid
_NO_SWAP_MEND = (
    "start trafficd as root with CAP_SYS_RESOURCE, set LimitMEMLOCK=infinity or MemorySwapMax=0 in"
    " its unit, turn swap off, or name swap in sandbox.absent"
)


def lift_limit_of_locked_memory() -> None:
    """Let this process lock all its memory, if it may; called while it is root still.

    Where it may not (CAP_SYS_RESOURCE), ``keep_out_of_swap`` says what that means.
    """
    if resource.getrlimit(resource.RLIMIT_MEMLOCK) == _UNLIMITED:
        return
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, _UNLIMITED)
    except (OSError, ValueError):
        return


def keep_out_of_swap() -> None:
    """Lock all memory, now and to come, or find that the cgroup or the host has no swap.

    Only what is touched is locked (MCL_ONFAULT), so that resident memory does not grow. A host that
    gets swap later is found by `trafficd audit`.
    Raises: SandboxError if it may be swapped.
    """
    # Under a limit, locking would succeed today, and an allocation fail tomorrow (mlock(2)).
    if resource.getrlimit(resource.RLIMIT_MEMLOCK) == _UNLIMITED:
        reason = "the kernel refused mlockall"
        try:
            libc_call("mlockall", _MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
        except OSError as error:
            reason = f"{reason}: {error.strerror}"
        else:
            return
    else:
        reason = "locked memory has a limit that cannot be lifted"
    if _host_has_swap() and not any(allows_no_swap(each) for each in own_cgroups()):
        raise SandboxError(f"sandbox: memory may be swapped: {reason}; {_NO_SWAP_MEND}")


def hide_memory() -> None:
    """Keep this process from being dumped or attached to by anybody but root.

    Called after the last change of identity, which undoes it (kernel/cred.c, commit_creds).
    Raises: SandboxError if the kernel refuses.
    """
    try:
        # A core_pattern with a pipe passes the limit by (core(5)); not being dumpable stops both.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        prctl(_PR_SET_DUMPABLE, 0)
        is_hidden = prctl(_PR_GET_DUMPABLE) == 0
    except (OSError, ValueError) as error:
        raise SandboxError(f"sandbox: core dumps cannot be turned off: {error}") from error
    if not is_hidden:
        raise SandboxError("sandbox: core dumps stayed on")


def _host_has_swap() -> bool:
    try:
        # A heading, and a line for each swap area (proc_swaps(5)).
        return len(_SWAPS.read_text(encoding="utf-8").splitlines()) > 1
    except FileNotFoundError:
        # A kernel without swap; or a /proc that shows processes alone, and then who knows.
        return not _WHOLE_PROC.exists()
    except OSError:
        return True


def own_cgroups() -> Iterator[Path]:
    """Yield the directory of our cgroup, version 2, and of each above it (cgroups(7))."""
    try:
        memberships = _OWN_CGROUP.read_text(encoding="utf-8").splitlines()
        mounts = [line.split() for line in _MOUNTS.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return
    for membership in memberships:
        hierarchy, _, place = membership.split(":", 2)
        if hierarchy != "0":
            continue
        for fields in mounts:
            # proc_pid_mountinfo(5): root and mount point; the type follows a lone hyphen.
            root, mount_point = fields[3], Path(fields[4])
            if fields[fields.index("-") + 1] == "cgroup2" and Path(place).is_relative_to(root):
                inner = Path(place).relative_to(root)
                yield from (mount_point / each for each in (inner, *inner.parents))


def allows_no_swap(cgroup: Path) -> bool:
    """Return whether nothing of that cgroup is swapped (memory.swap.max, cgroup-v2.rst)."""
    try:
        return (cgroup / "memory.swap.max").read_text(encoding="ascii").strip() == "0"
    except OSError:
        return False

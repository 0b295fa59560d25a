"""Judges who a half is, and what others may do with it: /proc/PID/status of each thread."""

from collections.abc import Iterator

from trafficd.audit.facts import Process, Thread
from trafficd.audit.finding import Finding, judge

_IDS = ("Uid", "Gid")
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_MEND = "start trafficd as root with all capabilities, or in its own units"


def identity_findings(process: Process) -> Iterator[Finding]:
    """Judge ids, capabilities, privileges to come, and tracers."""
    half, source = process.half, f"/proc/{process.number}/task/*/status"
    shown = process.status
    yield judge(
        f"{half}.identity",
        all(_is_nobody_special(each) for each in process.threads),
        f"{source} Uid Gid Groups",
        "; ".join(f"{key} {shown.get(key, '?')}" for key in (*_IDS, "Groups")).replace("\t", " "),
        mend=_MEND,
    )
    left = sorted(
        {
            f"{key} {each.status.get(key, 'missing')}"
            for each in process.threads
            for key in _SETS
            if int(each.status.get(key, "f"), 16)
        }
    )
    yield judge(
        f"{half}.capabilities",
        not left,
        f"{source} {' '.join(_SETS)}",
        "; ".join(left) or "all 0",
        mend=_MEND,
    )
    values = {each.status.get("NoNewPrivs", "?") for each in process.threads}
    yield judge(
        f"{half}.no_new_privileges",
        values == {"1"},
        f"{source} NoNewPrivs",
        _listed(values),
        mend=_MEND,
    )
    tracers = {each.status.get("TracerPid", "?") for each in process.threads}
    yield judge(
        f"{half}.untraced",
        tracers == {"0"},
        f"{source} TracerPid",
        "0" if tracers == {"0"} else f"process {_listed(tracers)}",
        mend="end that process, and find out whose it is",
    )


def _is_nobody_special(thread: Thread) -> bool:
    ids = [thread.status.get(key, "0").split() for key in _IDS]
    groups = thread.status.get("Groups", "0").split()
    # Real, effective, saved and of the file system: one who can be only himself.
    return all(len(set(each)) == 1 and each[0] != "0" for each in ids) and "0" not in groups


def _listed(values: set[str]) -> str:
    return ", ".join(sorted(values))

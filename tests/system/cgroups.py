"""A cgroup of one's own: what is started in it ends with it, and nothing of it stays."""

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.system.debian_packages import MachineError

_MOUNTS = Path("/proc/self/mountinfo")
_NAME = "trafficd-test-{process}-{number}"
_NAMED = re.compile(r"trafficd-test-(\d+)-\d+")
_numbers = itertools.count()
# A process that is killed while it waits for a disk takes its time.
_SECONDS = 20


@contextlib.contextmanager
def own_cgroup() -> Iterator[Path]:
    """Give an empty cgroup at the root of the hierarchy of version 2.

    When it is left, each process in it or beneath it is killed, and it is removed; so are cgroups
    of its name in hierarchies of version 1, where systemd-nspawn makes them.
    Raises: MachineError if there is no version 2, or something cannot be removed.
    """
    hierarchies = list(_hierarchies())
    _remove_what_others_left(hierarchies)
    name = _NAME.format(process=os.getpid(), number=next(_numbers))
    cgroup = hierarchies[0] / name
    cgroup.mkdir()
    try:
        yield cgroup
    finally:
        for each in hierarchies:
            _remove(each / name)


def _hierarchies() -> Iterator[Path]:
    """Yield where cgroups are mounted, version 2 first."""
    mounts: dict[str, list[Path]] = {"cgroup2": [], "cgroup": []}
    for line in _MOUNTS.read_text(encoding="utf-8").splitlines():
        # proc_pid_mountinfo(5): the fifth is the mount point; the type follows a lone hyphen.
        fields = line.split()
        mounts.get(fields[fields.index("-") + 1], []).append(Path(fields[4]))
    if not mounts["cgroup2"]:
        raise MachineError("no cgroup2 is mounted; systemd in a container needs one")
    yield mounts["cgroup2"][0]
    yield from mounts["cgroup"]


def _remove_what_others_left(hierarchies: Iterable[Path]) -> None:
    """Remove the cgroups of test runs that were killed; their processes were killed with them."""
    for hierarchy in hierarchies:
        for cgroup in hierarchy.iterdir():
            named = _NAMED.fullmatch(cgroup.name)
            if named and not Path("/proc", named[1]).exists():
                _remove(cgroup)


def _remove(cgroup: Path) -> None:
    # Not there in version 1, where nothing is that is not in version 2 as well.
    kill = cgroup / "cgroup.kill"
    if kill.exists():
        kill.write_text("1")
    deadline = time.monotonic() + _SECONDS
    for path, _, _ in os.walk(cgroup, topdown=False):
        while not _is_removed(path):
            if time.monotonic() > deadline:
                raise MachineError(f"{path}: its processes do not end")
            time.sleep(0.005)


def _is_removed(cgroup: str) -> bool:
    try:
        os.rmdir(cgroup)  # noqa: PTH106
    except FileNotFoundError:
        return True
    except OSError:
        # EBUSY: a process is still ending.
        return False
    return True

"""Gathers what a process has mapped, and how a file that it shares with others lies there."""

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from trafficd.audit import proc
from trafficd.audit.facts import MappedFile, MemoryMapping
from trafficd.audit.finding import Unread
from trafficd.sandbox.libc import file_system_type

# proc_pid_smaps(5), VmFlags: locked; and the kernel's own pages, like those of the vDSO, which are
# never swapped and cannot be locked (mm/mlock.c, mlock_fixup; linux/mm.h, VM_SPECIAL).
_LOCKED, _SPECIAL = "lo", ("io", "pf", "de", "mm")
_TMPFS = 0x01021994  # linux/magic.h


def memory_mappings(directory: Path) -> tuple[MemoryMapping, ...] | Unread:
    """Return the mappings of the process whose /proc is *directory*."""
    said = proc.text(directory / "smaps")
    if isinstance(said, Unread):
        return said
    found: list[MemoryMapping] = []
    place: list[str] = []
    known: dict[str, str] = {}
    for line in said.splitlines():
        key, _, value = line.partition(":")
        if key == "VmFlags":
            known[key] = value
            found.append(_mapping(directory, place, known))
        elif " " in key:
            place, known = line.split(maxsplit=5), {}
        else:
            known[key] = value.strip()
    return tuple(found)


def mount_options(directory: Path, device: int) -> frozenset[str] | Unread:
    """Return the options of the file system *device* itself, as that process sees it mounted."""
    said = proc.text(directory / "mountinfo")
    if isinstance(said, Unread):
        return said
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for fields in (line.split() for line in said.splitlines()):
        if fields[2] == wanted:
            return frozenset(fields[-1].split(","))
    return Unread(f"{directory / 'mountinfo'} has no file system {wanted}")


def _mapping(directory: Path, fields: list[str], known: Mapping[str, str]) -> MemoryMapping:
    # address, permissions, offset, device, inode, path (proc_pid_maps(5))
    path = fields[5] if len(fields) > 5 else ""
    flags = set(known["VmFlags"].split())
    mapping = MemoryMapping(
        permissions=fields[1],
        path=path,
        is_file=fields[4] != "0",
        is_locked=_LOCKED in flags,
        is_special=bool(flags & set(_SPECIAL)) or path == "[vsyscall]",
        # Of shared memory too, which VmSwap leaves out (proc_pid_status(5)).
        swapped=known.get("Swap", "0 kB"),
    )
    if not mapping.is_shared:
        return mapping
    return replace(mapping, file=_mapped_file(directory, fields[0]))


def _mapped_file(directory: Path, addresses: str) -> MappedFile | Unread:
    # The file itself, wherever the process sees it and whatever has become of its name.
    entry = (
        directory / "map_files" / "-".join(f"{int(each, 16):x}" for each in addresses.split("-"))
    )
    try:
        descriptor = os.open(entry, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        return Unread(f"{entry}: {error.strerror}")
    try:
        status = os.fstat(descriptor)
        is_on_tmpfs = file_system_type(descriptor) == _TMPFS
    finally:
        os.close(descriptor)
    return MappedFile(
        is_regular=stat.S_ISREG(status.st_mode),
        mode=stat.S_IMODE(status.st_mode),
        owner=status.st_uid,
        links=status.st_nlink,
        size=status.st_size,
        is_on_tmpfs=is_on_tmpfs,
        mount_options=mount_options(directory, status.st_dev),
    )

"""Reads /proc, which another process can leave at any moment."""

import os
from collections.abc import Iterator
from pathlib import Path

from trafficd.audit.finding import Unread
from trafficd.clock import SystemClock

PROC = Path("/proc")


def numbers(directory: Path) -> list[int]:
    """Return the entries of *directory* that are numbers, in order; none if it is gone."""
    try:
        return sorted(int(each) for each in os.listdir(directory) if each.isdecimal())  # noqa: PTH208  # plain names
    except OSError:
        return []


def text(file: Path) -> str | Unread:
    """Return what *file* says; a process decides about some of it, in any bytes."""
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError as error:
        return Unread(f"{file}: {error.strerror}")


def status(directory: Path) -> dict[str, str]:
    """Return the fields of the status file in *directory*; none if it is gone."""
    said = text(directory / "status")
    lines = [] if isinstance(said, Unread) else said.splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def arguments(process: int) -> list[str]:
    """Return the command line of *process*; it may have written anything there."""
    said = text(PROC / str(process) / "cmdline")
    return [] if isinstance(said, Unread) else said.split("\0")[:-1]


def start_ticks(process: int) -> int | None:
    """Return when *process* started, in clock ticks since boot; None if it is gone.

    No two processes of one number have the same. Source: proc_pid_stat(5), field 22.
    """
    said = text(PROC / str(process) / "stat")
    # The name of the program, in parentheses, may hold anything.
    return None if isinstance(said, Unread) else int(said.rpartition(")")[2].split()[19])


def utc_seconds(ticks: int) -> float:
    """Return what the clock says now of the moment *ticks* after boot."""
    # btime of /proc/stat has whole seconds only.
    now = SystemClock().now()
    return now.utc_seconds - now.elapsed_seconds + ticks / os.sysconf("SC_CLK_TCK")


def link(file: Path) -> str:
    """Return where a symbolic link of /proc leads; nothing if it is gone."""
    try:
        return os.fsdecode(os.readlink(os.fsencode(file)))  # noqa: PTH115  # not a path always
    except OSError:
        return ""


def processes() -> Iterator[int]:
    """Yield every process."""
    yield from numbers(PROC)

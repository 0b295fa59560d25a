"""Gathers what other programs of the host do. It reads only, and shows no value of theirs."""

import itertools
import re
from collections.abc import Iterable, Iterator
from glob import escape
from pathlib import Path

from trafficd.audit import proc
from trafficd.audit.checks.outside import DaemonOffence, Outside, Program
from trafficd.audit.finding import Unread
from trafficd.audit.firewall import logging_rules
from trafficd.audit.offenders import SCHEDULED, SWITCHES
from trafficd.audit.vpn import DAEMONS, Daemon, option_lines

_NETFILTER = Path("/proc/sys/net/netfilter")
_FILE_BYTES = 1 << 20


def gather_outside(own: Iterable[int]) -> Outside:
    """Return the facts about all processes but *own*, and about the kernel's settings."""
    ours = set(own)
    programs = tuple(
        program
        for number in proc.processes()
        if number not in ours and (program := _program(number)) is not None
    )
    offences: list[DaemonOffence] = []
    unreadable: list[str] = []
    for program in programs:
        for name, daemon in DAEMONS.items():
            if program.names & set(daemon.names):
                offences += _of_daemon(name, daemon, program, unreadable)
    modules = proc.text(proc.PROC / "modules")
    return Outside(
        programs=programs,
        daemons=tuple(offences),
        unreadable=tuple(unreadable),
        # Without modules, the kernel has no such file.
        modules=frozenset()
        if isinstance(modules, Unread)
        else frozenset(line.split()[0] for line in modules.splitlines()),
        switches=tuple(name for name in SWITCHES if _is_on(_NETFILTER / name)),
        logging_rules=logging_rules(),
        scheduled=tuple(_scheduled()),
    )


def _program(number: int) -> Program | None:
    """Return what runs as *number*; None of a kernel's own thread, and of one that is gone."""
    directory = proc.PROC / str(number)
    executable, name = proc.link(directory / "exe"), proc.text(directory / "comm")
    if not executable or isinstance(name, Unread):
        return None
    words = proc.arguments(number)
    names = {name.removesuffix("\n"), Path(executable.removesuffix(" (deleted)")).name}
    # An interpreter's script is what runs: python3 /usr/bin/glances.
    names |= {Path(word).name.removesuffix(".py") for word in words[:2] if word[:1] != "-"}
    return Program(number, frozenset(names), tuple(words))


def _of_daemon(
    name: str, daemon: Daemon, program: Program, unreadable: list[str]
) -> Iterator[DaemonOffence]:
    root = proc.PROC / str(program.number) / "root"
    if daemon.takes_options:
        for offence in daemon.judge(_own_lines(program)):
            yield DaemonOffence(name, program.number, "command line", offence)
    for file in _files(daemon, program, root):
        shown = f"/{file.relative_to(root)}"
        try:
            with file.open("rb") as opened:
                lines = opened.read(_FILE_BYTES).decode(errors="replace").splitlines()
        except OSError as error:
            unreadable.append(f"{shown} of {name}: {error.strerror}")
            continue
        for offence in daemon.judge(lines):
            yield DaemonOffence(name, program.number, shown, offence)


def _own_lines(program: Program) -> list[str]:
    if any(word.startswith("--") for word in program.words):
        return option_lines(program.words[1:])
    # pppd's options have no hyphens: each may be the start of one.
    words = program.words[1:]
    return [" ".join(words[place : place + 2]) for place in range(len(words))]


def _files(daemon: Daemon, program: Program, root: Path) -> Iterator[Path]:
    """Yield the files of *program*'s configuration, below the root directory that it sees."""
    directory = proc.link(proc.PROC / str(program.number) / "cwd")
    words = program.words
    named = [word for option, word in itertools.pairwise(words) if option in daemon.options]
    # openvpn(8): a lone word is the configuration.
    if not named and daemon.takes_options and len(words) == 2 and "/" in words[1]:
        named = [words[1]]
    for word in named:
        yield root / str(Path(directory, word)).lstrip("/")
    if named and daemon.options != ("file",):
        return
    for pattern in daemon.files:
        yield from sorted(Path(escape(str(root))).glob(pattern.lstrip("/")))


def _is_on(file: Path) -> bool:
    said = proc.text(file)
    return not isinstance(said, Unread) and said.strip() != "0"


def _scheduled() -> Iterator[tuple[str, str]]:
    for file, (pattern, name, why) in SCHEDULED.items():
        said = proc.text(Path(file))
        if not isinstance(said, Unread) and re.search(pattern, said, re.MULTILINE):
            yield name, why

"""Finds the two halves of a node by their command lines and by the file they were given.

systemd gives a service a copy of the file, which is told by where it stands, or by its text.

Anybody can start a process with any command line. Such a process is no help to who wants to fool
the audit: everything else is asked of the kernel about it, and beside the real one it is one too
many.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trafficd.audit import proc
from trafficd.errors import TrafficdError
from trafficd.sandbox.apply import Half

_CONFIG = "--config"
# Where a service finds the copies that systemd made for it, a directory each (systemd.exec(5)).
_CREDENTIALS = "/run/credentials"


@dataclass(frozen=True, slots=True)
class Found:
    """The processes of one node; *agent* is 0 where a service manager started the halves.

    *is_as_given* tells that each half was given the file, or a copy of its text as it is now.
    """

    reader: int
    exporter: int
    agent: int
    is_as_given: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    process: int
    parent: int
    command: str
    is_as_given: bool


def find_halves(config: Path, *, agent: int | None) -> Found:
    """Return the halves that were started with the file *config*, of the process *agent* if given.

    Raises: TrafficdError if there are none, or several.
    """
    try:
        wanted, text = config.stat(), config.read_bytes()
    except OSError as error:
        raise TrafficdError(f"{config}: cannot be read: {error.strerror}") from error
    candidates = []
    for process in proc.processes():
        words = command_of(proc.arguments(process))
        if words is None:
            continue
        given = _seen(process, words[1])
        is_copy = given.is_relative_to(_seen(process, _CREDENTIALS)) and _is_of_this_machine(
            process
        )
        is_as_given = _is_same_text(given, text) if is_copy else _is_same_file(given, wanted)
        if is_copy or is_as_given:
            parent = proc.status(proc.PROC / str(process)).get("PPid", "0")
            candidates.append(_Candidate(process, int(parent), words[0], is_as_given))
    return _of_one_agent(candidates, config, agent)


def command_of(arguments: Sequence[str]) -> tuple[str, str] | None:
    """Return the command and the configuration of a `trafficd` command line; None of another."""
    words = list(arguments)
    if words and Path(words[0]).name.startswith("python"):
        # Options of the interpreter, as far as the program: a module or a script.
        while len(words) > 1 and words[1].startswith("-") and words[1] != "-m":
            del words[1]
        del words[: 2 if words[1:2] == ["-m"] else 1]
    if not words or Path(words[0]).name != "trafficd":
        return None
    file = _config_of(words[1:])
    return (words[1], file) if file is not None else None


def _config_of(arguments: Sequence[str]) -> str | None:
    for place, word in enumerate(arguments):
        key, equals, value = word.partition("=")
        # argparse takes what an option begins with for the option.
        if len(key) > 2 and _CONFIG.startswith(key):
            if equals:
                return value
            return arguments[place + 1] if place + 1 < len(arguments) else None
    return None


def _seen(process: int, file: str) -> Path:
    """Return *file* as *process* sees it, which may have another root and another directory."""
    directory = proc.link(proc.PROC / str(process) / "cwd")
    root = proc.PROC / str(process) / "root"
    return root / os.path.join(directory, file).lstrip("/")  # noqa: PTH118  # an absolute one stays


def _is_of_this_machine(process: int) -> bool:
    """Tell whether *process* is none of a container's, which has services of its own."""
    own = proc.link(proc.PROC / "self" / "ns" / "pid")
    return proc.link(proc.PROC / str(process) / "ns" / "pid") == own


def _is_same_file(given: Path, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(given.stat(), wanted)
    except OSError:
        return False


def _is_same_text(given: Path, text: bytes) -> bool:
    try:
        return given.stat().st_size == len(text) and given.read_bytes() == text
    except OSError:
        return False


def _of_one_agent(candidates: Sequence[_Candidate], config: Path, agent: int | None) -> Found:
    # A copy of some other text may be an older one of this file's, unless another has this file.
    sure = {each.command for each in candidates if each.is_as_given}
    likely = [each for each in candidates if each.is_as_given or each.command not in sure]
    halves = {half: [each for each in likely if each.command == half] for half in Half}
    if agent is not None:
        halves = {
            half: [each for each in of_half if agent in (each.parent, each.process)]
            for half, of_half in halves.items()
        }
    agents = {each.process for each in candidates if each.command == "agent"}
    for half, of_half in halves.items():
        if not of_half:
            whose = f"process {agent}" if agent is not None else str(config)
            raise TrafficdError(f"no {half} is running for {whose}; see: pgrep -af trafficd")
        if len(of_half) > 1:
            several = _listed(each.parent for each in of_half)
            raise TrafficdError(
                f"{len(of_half)} processes are a {half} for {config};"
                f" name who started them by --pid: {several}"
            )
    ((reader,), (exporter,)) = (halves[Half.READER], halves[Half.EXPORTER])
    if reader.parent != exporter.parent and agents & {reader.parent, exporter.parent}:
        raise TrafficdError("reader and exporter belong to different agents; run the audit again")
    parent = reader.parent if reader.parent in agents else 0
    is_as_given = reader.is_as_given and exporter.is_as_given
    return Found(reader.process, exporter.process, parent, is_as_given)


def _listed(processes: Iterable[int]) -> str:
    return ", ".join(str(each) for each in sorted(set(processes)))

"""Judges what a half can ask the kernel: its seccomp programs, run on calls partly unknown."""

from collections.abc import Iterator, Mapping, Sequence

from trafficd.audit.bpf import Call, Outcome, outcome
from trafficd.audit.calls import ARCHITECTURES, X32_BIT, Probe, refused, written_down
from trafficd.audit.facts import Configuration, Host, Process, Thread
from trafficd.audit.finding import Finding, Unread, judge, unread
from trafficd.config import Layer
from trafficd.sandbox.apply import Half, WayOut
from trafficd.sandbox.socket_filter import Program

_KNOWS_PORTS = 4  # the version of Landlock, of Linux 6.7
_MODE_FILTER = "2"  # linux/seccomp.h, SECCOMP_MODE_FILTER
_MEND = "take seccomp out of sandbox.absent and restart trafficd"
_ASK_MEND = (
    "run the audit as root of the machine and not of a container, on a kernel with"
    " CONFIG_CHECKPOINT_RESTORE"
)
_NOT_SEEN = "whether this process is under Landlock, no kernel tells from outside"


def system_call_findings(
    process: Process, host: Host, settings: Configuration
) -> Iterator[Finding]:
    """Judge the filter of system calls, claim by claim, and what Landlock can add."""
    half, number = process.half, process.number
    modes = {each.status.get("Seccomp", "?") for each in process.threads}
    counts = {each.status.get("Seccomp_filters", "?") for each in process.threads}
    yield judge(
        f"{half}.seccomp",
        modes == {_MODE_FILTER},
        f"/proc/{number}/task/*/status Seccomp Seccomp_filters",
        f"{len(process.threads)} threads, mode {_listed(modes)}, filters {_listed(counts)}",
        mend=_MEND,
    )
    claims = refused(half, settings)
    problem = _problem(process.threads, host)
    if problem is not None:
        for each in (*claims, "calls.foreign", "calls.rest"):
            yield unread(f"{half}.{each}", _source(number), problem, mend=_ASK_MEND)
        yield _landlock(process, host, settings, opens_nothing=None)
        return
    kernel = _Kernel(process.threads, host)
    opens_nothing = True
    for each, probes in claims.items():
        finding = kernel.judge_refused(process, each, probes)
        if each in ("calls.read", "calls.write"):
            opens_nothing = opens_nothing and not finding.mend
        yield finding
    yield kernel.judge_foreign(process)
    yield kernel.judge_rest(process, written_down(half, settings))
    yield _landlock(process, host, settings, opens_nothing=opens_nothing)


class _Kernel:
    """What the kernel would answer to the threads of one process."""

    def __init__(self, threads: Sequence[Thread], host: Host) -> None:
        self._programs = _distinct(threads)
        self._native, self._foreign = ARCHITECTURES[host.machine]
        self._machine = host.machine
        self._numbers: Mapping[str, int] = (
            {} if isinstance(host.system_calls, Unread) else host.system_calls
        )

    def judge_refused(self, process: Process, claim: str, probes: Sequence[Probe]) -> Finding:
        """Judge whether every one of *probes* is refused."""
        answers = [
            (probe, self._answer(probe.arguments, self._numbers[probe.name]))
            for probe in probes
            if probe.name in self._numbers
        ]
        passing = [str(probe) for probe, answer in answers if answer.passes]
        refusals = {how for _, answer in answers for how in answer.refusals}
        evidence = (
            f"passes: {', '.join(dict.fromkeys(passing))}"
            if passing
            else f"{len(answers)} kinds of call refused whatever their other arguments are"
            f" ({_listed(refusals)})"
        )
        if claim == "calls.read" and process.half is Half.EXPORTER and not passing:
            evidence += _read_words(probes)
        return judge(
            f"{process.half}.{claim}",
            not passing,
            _source(process.number),
            evidence,
            mend=_MEND,
            details=[f"{probe}: {_shown(answer)}" for probe, answer in answers],
        )

    def judge_foreign(self, process: Process) -> Finding:
        """Judge the calls of other architectures that this machine can run."""
        passing = [
            name
            for name, architecture in self._foreign.items()
            if self._passes_anywhere(Call(architecture, None, {}))
        ]
        tried = [*self._foreign]
        if self._machine == "x86_64":
            tried.append("x32")
            x32 = (X32_BIT | number for number in range(max(self._numbers.values()) + 1))
            if any(self._passes_anywhere(Call(self._native, each, {})) for each in x32):
                passing.append("x32")
        evidence = f"passes: {', '.join(passing)}" if passing else f"{', '.join(tried)}: refused"
        source = _source(process.number)
        return judge(f"{process.half}.calls.foreign", not passing, source, evidence, mend=_MEND)

    def judge_rest(self, process: Process, allowed: frozenset[str]) -> Finding:
        """Judge whether nothing passes but the *allowed* calls, of all that the kernel has."""
        passing = [
            name for name, number in self._numbers.items() if self._answer({}, number).passes
        ]
        last = max(self._numbers.values())
        unnamed = [
            str(number)
            for number in range(2 * last)
            if number not in self._numbers.values() and self._answer({}, number).passes
        ]
        strangers = [*(each for each in passing if each not in allowed), *unnamed]
        evidence = (
            f"passes: {', '.join(strangers[:12])}{' and more' if strangers[12:] else ''}"
            if strangers
            else f"{len(self._numbers)} known and all unknown up to {2 * last} tried;"
            f" {len(passing)} can pass: {', '.join(passing)}"
        )
        source = f"{_source(process.number)}; sandbox/seccomp.py"
        return judge(f"{process.half}.calls.rest", not strangers, source, evidence, mend=_MEND)

    def _answer(self, arguments: Mapping[int, int], number: int) -> Outcome:
        call = Call(self._native, number, arguments)
        answers = [outcome(programs, call) for programs in self._programs]
        refusals = {how for answer in answers for how in answer.refusals}
        return Outcome(any(each.passes for each in answers), tuple(sorted(refusals)))

    def _passes_anywhere(self, call: Call) -> bool:
        return any(outcome(programs, call).passes for programs in self._programs)


def _landlock(
    process: Process, host: Host, settings: Configuration, *, opens_nothing: bool | None
) -> Finding:
    identity = f"{process.half}.landlock"
    source = "landlock_create_ruleset(2), by the audit; the filter of system calls"
    if Layer.LANDLOCK in settings.absent:
        return judge(identity, False, source, "landlock is named absent", mend="name it no more")
    if isinstance(host.landlock, Unread):
        why = f"this kernel offers none here: {host.landlock.reason}"
        return judge(identity, None, source, why, mend="boot with landlock in lsm=")
    reads_files = process.half is Half.EXPORTER and settings.reads_files
    beside = {
        True: "by the filter, files can be opened to be read only; that it is those in the"
        " directories of the web config and of push, Landlock alone holds"
        if reads_files
        else "by the filter alone, no file can be opened",
        False: "by the filter, files can be opened, and Landlock would have to stop it",
        None: "the filter could not be read",
    }[opens_nothing]
    evidence = f"the kernel offers version {host.landlock}; {_NOT_SEEN}; {beside}"
    if process.half is Half.EXPORTER and settings.way_out is not None:
        evidence += f"; {_port_words(host.landlock, settings.way_out)}"
    return judge(identity, opens_nothing, source, evidence, mend=_MEND)


def _port_words(version: int, way_out: WayOut) -> str:
    ports = _listed({str(port) for port in way_out.ports})
    if version < _KNOWS_PORTS:
        return "this version knows no ports: by TCP it can connect to any"
    return f"it is told that TCP may connect to port {ports} alone"


def _problem(threads: Sequence[Thread], host: Host) -> Unread | None:
    if host.machine not in ARCHITECTURES:
        return Unread(f"calls of {host.machine} are not known to the audit")
    if isinstance(host.system_calls, Unread):
        return host.system_calls
    for each in threads:
        if isinstance(each.programs, Unread):
            return each.programs
    return None


def _distinct(threads: Sequence[Thread]) -> list[tuple[Program, ...]]:
    found = [each.programs for each in threads if not isinstance(each.programs, Unread)]
    return list(dict.fromkeys(found))


def _read_words(probes: Sequence[Probe]) -> str:
    if any(each.name == "openat" for each in probes):
        return ""
    return (
        "; openat for reading passes: Landlock is told the directories of the web config and"
        " of push, which cannot be seen from outside"
    )


def _shown(answer: Outcome) -> str:
    return "can pass" if answer.passes else _listed(set(answer.refusals))


def _source(number: int) -> str:
    return f"PTRACE_SECCOMP_GET_FILTER of each thread of {number}, emulated"


def _listed(values: set[str]) -> str:
    return ", ".join(sorted(values))

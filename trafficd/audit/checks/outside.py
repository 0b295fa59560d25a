"""Judges what else on this host keeps what trafficd does not; each offender is a finding."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trafficd.audit.claims import OUTSIDE
from trafficd.audit.finding import Finding, Unread, Verdict, judge, unread
from trafficd.audit.offenders import MODULES, OFFENDERS, SWITCHES, SWITCHES_MEND, Offender
from trafficd.audit.vpn import Offence

_COMM_LETTERS = 15  # TASK_COMM_LEN less its end, linux/sched.h
_PROGRAMS = "/proc/*/comm, exe, cmdline"
_SOURCES = {
    "outside.interface_exporters": _PROGRAMS,
    "outside.vpn_status": f"{_PROGRAMS} of VPN daemons, and the files they are configured by",
    "outside.accounting": f"{_PROGRAMS} of VPN daemons, and the files they are configured by",
    "outside.flows": f"{_PROGRAMS}; /proc/modules",
    "outside.connections": f"{_PROGRAMS}; /proc/sys/net/netfilter; netfilter rules",
    "outside.capture": f"{_PROGRAMS}; /proc/modules",
}


@dataclass(frozen=True, slots=True)
class Program:
    """A running program: its names, and its words, which are looked at and never shown."""

    number: int
    names: frozenset[str]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DaemonOffence:
    """What a running VPN daemon's configuration says; *place* is the file, or the command line."""

    daemon: str
    number: int
    place: str
    offence: Offence


@dataclass(frozen=True, slots=True)
class Outside:
    """The facts about the host: programs, modules, switches that are on, rules that log."""

    programs: tuple[Program, ...]
    daemons: tuple[DaemonOffence, ...]
    unreadable: tuple[str, ...]
    modules: frozenset[str] | Unread
    switches: tuple[str, ...]
    logging_rules: tuple[str, ...] | Unread
    scheduled: tuple[tuple[str, str], ...]


def outside_findings(outside: Outside) -> Iterator[Finding]:
    """Yield a FAIL for each offender, and a line for each kind of which there is none."""
    found = [*_offenders(outside.programs), *_daemons(outside.daemons), *_kernel(outside)]
    for identity in OUTSIDE:
        of_kind = [each for each in found if each.identity == identity]
        yield from of_kind
        doubt = _doubt(identity, outside)
        if doubt is not None:
            mend = "install what lists the rules, or look yourself"
            yield unread(identity, _SOURCES[identity], doubt, mend=mend)
        elif not of_kind:
            count = len(outside.programs)
            yield judge(identity, True, _SOURCES[identity], f"none among {count} processes")


def is_offender(offender: Offender, words: Sequence[str]) -> bool:
    """Tell whether a program called with *words* is one, by its options."""
    # Go takes one hyphen for two, and a value behind an equals sign.
    plain = {f"--{word.lstrip('-').partition('=')[0]}" for word in words if word[:1] == "-"}
    off = {f"--{word.lstrip('-')}" for word in words if word[:1] == "-"}
    if offender.only_with:
        return bool(set(words) & set(offender.only_with))
    turned_on = {each.replace("--no-", "--") for each in offender.needs} & plain
    if offender.needs and set(offender.needs) <= plain:
        return False
    return not (offender.or_any and set(offender.or_any) & off and not turned_on)


def _offenders(programs: Iterable[Program]) -> Iterator[Finding]:
    by_name = {
        name[:_COMM_LETTERS]: offender for offender in OFFENDERS for name in offender.names
    } | {name: offender for offender in OFFENDERS for name in offender.names}
    for program in programs:
        known = {name: by_name[name] for name in sorted(program.names) if name in by_name}
        for name, offender in [*known.items()][:1]:
            if is_offender(offender, program.words):
                evidence = f"{name}, process {program.number}: {offender.why}"
                yield _offence(offender.identity, evidence, offender.mend)


def _daemons(offences: Iterable[DaemonOffence]) -> Iterator[Finding]:
    for each in offences:
        told = each.offence
        evidence = f"{each.daemon}, process {each.number}, {each.place}: {told.option}: {told.why}"
        yield _offence(told.identity, evidence, told.mend)


def _kernel(outside: Outside) -> Iterator[Finding]:
    if not isinstance(outside.modules, Unread):
        for name, (identity, why, mend) in MODULES.items():
            if name in outside.modules:
                yield _offence(identity, f"{name}, a kernel module: {why}", mend)
    for name in outside.switches:
        evidence = f"net.netfilter.{name} is on: {SWITCHES[name]}"
        yield _offence("outside.connections", evidence, SWITCHES_MEND.format(name=name))
    if not isinstance(outside.logging_rules, Unread):
        for rule in outside.logging_rules:
            evidence = f"a firewall rule logs packets with their addresses: {rule}"
            yield _offence("outside.connections", evidence, "take the rule out")
    for name, why in outside.scheduled:
        yield _offence(
            "outside.interface_exporters", f"{name} is enabled: {why}", f"disable {name}"
        )


def _offence(identity: str, evidence: str, mend: str) -> Finding:
    return Finding(identity, Verdict.FAIL, _SOURCES[identity], evidence, mend)


def _doubt(identity: str, outside: Outside) -> Unread | None:
    if identity == "outside.connections" and isinstance(outside.logging_rules, Unread):
        return outside.logging_rules
    if identity in ("outside.vpn_status", "outside.accounting") and outside.unreadable:
        return Unread(", ".join(outside.unreadable))
    if identity in ("outside.flows", "outside.capture") and isinstance(outside.modules, Unread):
        return outside.modules
    return None

"""The audit: where its parts meet. Facts, then checks, then one report."""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

import trafficd
from trafficd.audit import proc
from trafficd.audit.checks.code import code_findings, program_finding, startup_findings
from trafficd.audit.checks.configuration import configuration_findings
from trafficd.audit.checks.descriptors import descriptor_findings
from trafficd.audit.checks.identity import identity_findings
from trafficd.audit.checks.memory import memory_findings
from trafficd.audit.checks.message import message_findings
from trafficd.audit.checks.outside import outside_findings
from trafficd.audit.checks.sockets import agent_finding
from trafficd.audit.checks.state import state_findings
from trafficd.audit.checks.system_calls import system_call_findings
from trafficd.audit.claims import CLAIMS
from trafficd.audit.facts import Configuration, Host, Node, Process
from trafficd.audit.fetch import fetch_page
from trafficd.audit.find import find_halves
from trafficd.audit.finding import Finding, Unread
from trafficd.audit.node import gather_node
from trafficd.audit.outside import gather_outside
from trafficd.audit.package import gather_code, gather_startup
from trafficd.audit.page import Expected, Message, read_message
from trafficd.audit.report import Report
from trafficd.config import AgentSettings, read_config
from trafficd.errors import TrafficdError
from trafficd.rules import Population
from trafficd.sandbox.apply import WayOut
from trafficd.sandbox.inspect import landlock_version, system_calls

_ROOT = 0

Answer = TypeVar("Answer")


def run_audit(config: Path, *, agent: int | None, credentials: Path | None) -> Report:
    """Return what the kernel says about the halves that run with the file *config*.

    Raises: ConfigError; TrafficdError if this is not root, or not one agent can be found.
    """
    if os.geteuid() != _ROOT:
        raise TrafficdError("audit: only root may ask the kernel about another's processes")
    settings = read_config(config)
    found = find_halves(config, agent=agent)
    node = gather_node(found, settings.namespaces)
    of_file = _configuration(config, settings, is_as_given=found.is_as_given)
    page = fetch_page(node.exporter, settings.metrics, credentials=credentials)
    message = page if isinstance(page, Unread) else read_message(page)
    own = {os.getpid(), node.reader.number, node.exporter.number}
    findings = [
        *_of_node(node, of_file),
        *message_findings(message, _expected(settings), of_file),
        *outside_findings(gather_outside(own)),
    ]
    _still_the_same(node.reader, node.exporter)
    order = {identity: place for place, identity in enumerate(CLAIMS)}
    # Stable: findings of one identity stay in the order of processes.
    findings.sort(key=lambda each: order[each.identity])
    shown = message.text if isinstance(message, Message) else ""
    return Report(trafficd.__version__, tuple(findings), shown)


def _of_node(node: Node, settings: Configuration) -> Iterator[Finding]:
    code, startup, host = gather_code(), gather_startup(), _host()
    halves = (node.reader, node.exporter)
    yield from code_findings(code)
    yield from startup_findings(startup)
    yield from configuration_findings(settings, halves)
    for process in halves:
        yield program_finding(process, code, startup)
        yield from identity_findings(process)
        yield from memory_findings(process, host)
        yield from system_call_findings(process, host, settings)
        yield from descriptor_findings(process, node, settings)
    yield from state_findings(node.reader, host)
    if node.agent is not None:
        yield agent_finding(node.agent, node)


def _host() -> Host:
    swaps = proc.text(proc.PROC / "swaps")
    return Host(
        core_pattern=_stripped(proc.PROC / "sys/kernel/core_pattern"),
        suid_dumpable=_stripped(proc.PROC / "sys/fs/suid_dumpable"),
        # The first line is a heading (proc(5)).
        swaps=swaps if isinstance(swaps, Unread) else len(swaps.splitlines()) - 1,
        landlock=_asked(landlock_version),
        machine=platform.machine(),
        system_calls=_asked(system_calls),
    )


def _asked(ask: Callable[[], Answer]) -> Answer | Unread:
    try:
        return ask()
    except OSError as error:
        return Unread(error.strerror or str(error))


def _stripped(file: Path) -> str | Unread:
    said = proc.text(file)
    return said if isinstance(said, Unread) else said.strip()


def _configuration(config: Path, settings: AgentSettings, *, is_as_given: bool) -> Configuration:
    # Parsed, so that neither a comment nor the order of keys makes another digest; and without the
    # name of the node, so that those of a fleet can be compared.
    plain = msgspec.to_builtins(settings, enc_hook=_plain)
    del plain["node"]
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    shared = {
        rule.class_
        for rule in settings.links
        if rule.class_ is not None and rule.clients is Population.SHARED
    }
    return Configuration(
        digest=hashlib.sha256(canonical.encode()).hexdigest(),
        window=settings.window,
        min_sessions=settings.release.min_sessions,
        absent=settings.sandbox.absent,
        namespaces=len(settings.namespaces),
        has_web_config=settings.metrics.web_config is not None,
        changed_at=config.stat().st_ctime,
        shared_classes=tuple(each for each in settings.classes if each in shared),
        is_as_given=is_as_given,
        way_out=WayOut.to(
            settings.push, (file.parent for each in settings.push for file in each.files)
        ),
        destinations=len(settings.push),
    )


def _plain(value: object) -> object:
    """Return a word or a number of a type of our own as one of Python's."""
    return int(value) if isinstance(value, int) else str(value)


def _expected(settings: AgentSettings) -> Expected:
    return Expected(
        classes=settings.classes,
        window=settings.window,
        capacity_bits_per_second=settings.capacity_bits_per_second,
        version=trafficd.__version__,
        destinations=tuple(each.name for each in settings.push),
    )


def _still_the_same(*processes: Process) -> None:
    """Make sure that no number has passed to another process meanwhile."""
    for each in processes:
        if proc.start_ticks(each.number) != each.start_ticks:
            raise TrafficdError(f"the {each.half} ended during the audit; run it again")

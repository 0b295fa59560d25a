"""Gathers what the kernel says about both halves, and about what they share with others."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from trafficd.audit import proc
from trafficd.audit.descriptors import holders, open_descriptors, socket_file
from trafficd.audit.facts import Agent, Node, Process, Socket
from trafficd.audit.find import Found
from trafficd.audit.finding import Unread
from trafficd.audit.process import gather_process
from trafficd.rules import HOST_NAMESPACE
from trafficd.sandbox.apply import Half

_NAMED_NAMESPACES = "run/netns"  # ip-netns(8)


def gather_node(found: Found, namespaces: Sequence[str]) -> Node:
    """Return the facts about the halves *found*, which are to count these *namespaces* besides.

    Raises: TrafficdError if one of them ends meanwhile, or cannot be inspected at all.
    """
    reader = gather_process(Half.READER, found.reader)
    exporter = gather_process(Half.EXPORTER, found.exporter)
    addresses = {each.address for half in (reader, exporter) for each in _sockets(half)}
    starter = proc.PROC / str(reader.parent)
    networks = {name: starter / "root" / _NAMED_NAMESPACES / name for name in namespaces}
    return Node(
        reader=reader,
        exporter=exporter,
        agent=_agent(found.agent) if found.agent else None,
        holders=holders(
            each.target
            for half in (reader, exporter)
            if not isinstance(half.descriptors, Unread)
            for each in half.descriptors
            if each.socket is not None
        ),
        files={
            each: socket_file(reader.parent, each) for each in addresses if each.startswith("/")
        },
        networks={
            each: _number(place)
            for each, place in {HOST_NAMESPACE: starter / "ns" / "net", **networks}.items()
        },
    )


def _agent(number: int) -> Agent:
    try:
        pidfd = os.pidfd_open(number)
    except OSError as error:
        return Agent(number, Unread(error.strerror or str(error)))
    try:
        return Agent(number, open_descriptors(number, pidfd))
    finally:
        os.close(pidfd)


def _sockets(process: Process) -> Iterator[Socket]:
    if not isinstance(process.descriptors, Unread):
        yield from (each.socket for each in process.descriptors if isinstance(each.socket, Socket))


def _number(namespace: Path) -> int | Unread:
    try:
        return namespace.stat().st_ino
    except OSError as error:
        return Unread(f"{namespace}: {error.strerror}")

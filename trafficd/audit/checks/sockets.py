"""Judges the sockets of a half by what may come and go on each, and by who else has them open.

Whoever has a netlink socket of the reader's open can read what the reader would read. Process 1
does, by the socket unit, or the agent: they keep it while there is no reader, with all that the
kernel says meanwhile.
"""

import socket
from collections import Counter
from collections.abc import Iterator, Sequence

from trafficd.audit.facts import Agent, Configuration, Descriptor, Node, Process, Socket, SocketFile
from trafficd.audit.finding import Finding, Unread, judge, unread
from trafficd.sandbox.socket_filter import ANSWERS, EVENTS, disassemble

_INET = (socket.AF_INET, socket.AF_INET6)
_RTNLGRP_LINK = 1  # linux/rtnetlink.h
_MEND = "restart trafficd; whoever starts it must leave nothing open to it"
_STANDARD_ERROR = 2
# Far more than race for a connection (RFC 8305), and few.
_ADDRESSES_AT_ONCE = 8
_INIT = 1
_ROOT = 0
_OF_OTHERS, _OF_GROUP = 0o007, 0o070


def reader_findings(
    reader: Process, descriptors: Sequence[Descriptor], node: Node
) -> Iterator[Finding]:
    """Judge the reader's sockets, all of which could be asked."""
    yield _filters(descriptors)
    yield _groups(descriptors, node)
    yield _queues(descriptors, node)
    yield _handoff(descriptors, node)
    yield _connections(descriptors, node)


def exporter_findings(
    descriptors: Sequence[Descriptor], node: Node, settings: Configuration
) -> Finding:
    """Judge the exporter's sockets of the network, all of which could be asked."""
    inet = [
        (each.target, each.socket)
        for each in descriptors
        if isinstance(each.socket, Socket) and each.socket.family in _INET
    ]
    ports = {sock.port for _, sock in inet if sock.is_listening}
    # A connection that it began would come from a port of the kernel's choice.
    begun = [sock for _, sock in inet if sock.port not in ports]
    # One message is under way to each destination; of its addresses, more are tried than one.
    most = settings.destinations * _ADDRESSES_AT_ONCE
    wrong = [f"{len(begun)} sockets that no listener took"] if len(begun) > most else []
    wrong += [] if ports else ["no listener"]
    shown = sorted(
        {
            f"{sock.address}:{sock.port}{_kept_by_init(target, node)}"
            for target, sock in inet
            if sock.is_listening
        }
    )
    connections = sum(not sock.is_listening for _, sock in inet) - len(begun)
    evidence = "; ".join(wrong) or f"listens on {', '.join(shown)}; {connections} connections to it"
    if settings.destinations and not wrong:
        evidence += f"; {len(begun)} that it began, to push to {settings.destinations} destinations"
    source = "getsockname(2), SO_ACCEPTCONN by pidfd_getfd(2)"
    return judge("exporter.listeners", not wrong, source, evidence, mend=_MEND)


def reload_finding(process: Process, descriptors: Sequence[Descriptor], node: Node) -> Finding:
    """Judge the socket on which root hands a half its changed configuration."""
    identity = f"{process.half}.reload"
    source = "getsockname(2), getpeername(2) by pidfd_getfd(2); stat(2)"
    places = [
        each.address
        for _, each in _unix(descriptors, socket.SOCK_DGRAM)
        if each.address and not each.peer_address
    ]
    if not places:
        by_agent = f"they come from the agent, process {node.starter}: see agent.sockets"
        told = by_agent if node.agent else "there is no way for them to come"
        return judge(identity, True, source, told)
    wrong = []
    for each in places:
        file = node.files.get(each, Unread(f"{each}: no file"))
        if isinstance(file, Unread):
            return unread(identity, source, file, mend=_MEND)
        if file.owner != _ROOT or file.mode & (_OF_GROUP | _OF_OTHERS):
            wrong.append(f"{each}: {_who_may(file)}: others than root may send to it")
    evidence = "; ".join(wrong) or (
        f"{', '.join(places)}: root alone may send to it; it is connected to nobody, and no address"
        " can be sent to (calls.network)"
    )
    mend = "SocketMode=0600 in the socket's unit; no SocketUser= or SocketGroup="
    return judge(identity, not wrong, source, evidence, mend=mend)


def agent_finding(agent: Agent, node: Node) -> Finding:
    """Judge what the agent has open: what it keeps for the halves, and its lifelines' ends."""
    identity, source = "agent.sockets", f"/proc/{agent.number}/fd; pidfd_getfd(2), poll(2)"
    if isinstance(agent.descriptors, Unread):
        return unread(identity, source, agent.descriptors)
    if any(isinstance(each.socket, Unread) for each in agent.descriptors):
        return unread(identity, source, Unread("a socket could not be asked"))
    if isinstance(node.reader.descriptors, Unread):
        return unread(identity, source, node.reader.descriptors)
    of_reader = {target for target, _ in _netlink(node.reader.descriptors)}
    wrong, kept, deaf = [], 0, 0
    for each in agent.descriptors:
        if not isinstance(each.socket, Socket):
            continue
        if each.socket.family == socket.AF_UNIX:
            is_lifeline = each.socket.peer == agent.number and not each.socket.is_listening
            if is_lifeline and not each.socket.is_deaf:
                wrong.append(f"{each.number} hears a half")
            deaf += is_lifeline
        elif each.target in of_reader:
            kept += 1
        else:
            wrong.append(f"{each.number} is a socket of another kind than the reader's")
    evidence = "; ".join(wrong) or (
        f"{kept} netlink sockets, the reader's own, kept for when it is started again;"
        f" {deaf} sockets to the halves, shut for receiving"
    )
    return judge(identity, not wrong, source, evidence, mend=_MEND)


def _netlink(descriptors: Sequence[Descriptor]) -> list[tuple[str, Socket]]:
    return [
        (each.target, each.socket)
        for each in descriptors
        if isinstance(each.socket, Socket) and each.socket.family == socket.AF_NETLINK
    ]


def _unix(descriptors: Sequence[Descriptor], kind: int) -> list[tuple[int, Socket]]:
    return [
        (each.number, each.socket)
        for each in descriptors
        if isinstance(each.socket, Socket)
        and each.socket.family == socket.AF_UNIX
        and each.socket.kind == kind
        and each.number != _STANDARD_ERROR
    ]


def _filters(descriptors: Sequence[Descriptor]) -> Finding:
    wrong, details, count = [], [], 0
    for each in descriptors:
        netlink = each.socket.netlink if isinstance(each.socket, Socket) else None
        if netlink is None:
            continue
        count += 1
        expected, name = (EVENTS, "EVENTS") if netlink.groups else (ANSWERS, "ANSWERS")
        if isinstance(netlink.program, Unread):
            wrong.append(f"{each.number}: its filter: {netlink.program.reason}")
        elif netlink.program != expected:
            carried = "another filter" if netlink.program else "no filter"
            wrong.append(f"{each.number} carries {carried}, not {name}")
        if not netlink.is_locked:
            wrong.append(f"{each.number} is not locked")
        if not isinstance(netlink.program, Unread):
            lines = enumerate(disassemble(netlink.program))
            details += [f"{each.number} {name} {place:03}: {line}" for place, line in lines]
    return judge(
        "reader.filters",
        not wrong and bool(count),
        "SO_GET_FILTER, SO_LOCK_FILTER by pidfd_getfd(2); sandbox/socket_filter.py",
        "; ".join(wrong)
        or f"{count} sockets, each with EVENTS ({len(EVENTS)} instructions) or ANSWERS"
        f" ({len(ANSWERS)}), locked",
        mend=_MEND,
        details=details,
    )


def _groups(descriptors: Sequence[Descriptor], node: Node) -> Finding:
    """Judge groups and namespaces: a socket for events in each, and one for answers."""
    identity = "reader.groups"
    source = "NETLINK_LIST_MEMBERSHIPS, SIOCGSKNS by pidfd_getfd(2); /proc/PID/ns/net, /run/netns"
    found = Counter[tuple[int, tuple[int, ...]]]()
    for _, sock in _netlink(descriptors):
        if sock.netlink is None:
            continue
        groups, network = sock.netlink.groups, sock.netlink.network
        if isinstance(groups, Unread) or isinstance(network, Unread):
            return unread(identity, source, Unread("a socket's groups or namespace"), mend=_MEND)
        found[network, groups] += 1
    for number in node.networks.values():
        if isinstance(number, Unread):
            return unread(identity, source, number, mend=_MEND)
    names = {number: name for name, number in node.networks.items()}
    wanted = {(number, groups): 1 for number in names for groups in ((_RTNLGRP_LINK,), ())}
    told = [
        f"{count} in {_listed(groups)} of {names.get(number, 'another namespace')} ({number})"
        for (number, groups), count in sorted(found.items(), key=str)
    ]
    own = node.reader.network
    private = "" if own in names else f"; the reader itself lives in another namespace ({own})"
    return judge(
        identity,
        dict(found) == wanted,
        source,
        f"{', '.join(told) or 'none'}; expected one in {_RTNLGRP_LINK} (RTNLGRP_LINK) and one in"
        f" none, of each of {', '.join(node.networks)}{private}",
        mend=_MEND,
    )


def _queues(descriptors: Sequence[Descriptor], node: Node) -> Finding:
    identity, source = "reader.queues", "/proc/*/fd: the numbers of the reader's netlink sockets"
    keepers = {_INIT: "process 1, by the socket unit"}
    if node.agent:
        keepers[node.agent.number] = f"the agent, process {node.agent.number}"
    found: set[int] = set()
    for target, _ in _netlink(descriptors):
        found |= node.holders.get(target, frozenset())
    strangers = sorted(found - {node.reader.number, *keepers})
    kept = [words for process, words in keepers.items() if process in found]
    evidence = (
        f"process {_listed(strangers)} has one open"
        if strangers
        else f"kept by {' and '.join(kept) or 'nobody'}; open in the reader and nowhere else"
    )
    mend = "end that process, find out whose it is, and restart trafficd with its socket unit"
    return judge(identity, not strangers, source, evidence, mend=mend)


def _exporters(descriptors: Sequence[Descriptor], node: Node) -> list[tuple[int, Socket]]:
    """Return the reader's connections that somebody is at the other end of."""
    agent = node.agent.number if node.agent else None
    return [
        (number, each)
        for number, each in _unix(descriptors, socket.SOCK_SEQPACKET)
        if not each.is_listening and not each.is_dead and each.peer != agent
    ]


def _handoff(descriptors: Sequence[Descriptor], node: Node) -> Finding:
    connections = _exporters(descriptors, node)
    wrong = [f"{number} hears the exporter" for number, each in connections if not each.is_deaf]
    wrong += [
        f"{each.waiting_bytes} bytes wait in {number}"
        for number, each in connections
        if each.waiting_bytes
    ]
    if not connections:
        wrong.append("no exporter is connected")
    evidence = "; ".join(wrong) or (
        f"{_listed([number for number, _ in connections])} is shut for receiving, and nothing waits"
        " in it"
    )
    source = "POLLRDHUP, FIONREAD by pidfd_getfd(2); shutdown(2), poll(2)"
    return judge("reader.handoff", not wrong, source, evidence, mend=_MEND)


def _connections(descriptors: Sequence[Descriptor], node: Node) -> Finding:
    identity, source = "reader.connections", "SO_PEERCRED by pidfd_getfd(2); stat(2)"
    peers = [each.peer for _, each in _exporters(descriptors, node)]
    wrong = [f"process {each} is connected" for each in peers if each != node.exporter.number]
    if not peers:
        wrong.append("no exporter is connected")
    told = []
    for _, each in _unix(descriptors, socket.SOCK_SEQPACKET):
        if not each.is_listening:
            continue
        file = node.files.get(each.address, Unread(f"{each.address or 'a name'}: no file"))
        if isinstance(file, Unread):
            return unread(identity, source, file, mend=_MEND)
        told.append(f"{each.address}: {_who_may(file)}")
        if file.mode & _OF_OTHERS:
            wrong.append(f"anybody may connect to {told[-1]}")
    evidence = "; ".join(wrong) or "; ".join(
        (f"process {node.exporter.number}, the exporter, is connected", *told)
    )
    mend = "SocketMode=0660 and SocketGroup=trafficd in the socket's unit; restart trafficd"
    return judge(identity, not wrong, source, evidence, mend=mend)


def _kept_by_init(target: str, node: Node) -> str:
    return " (opened by process 1)" if _INIT in node.holders.get(target, ()) else ""


def _who_may(file: SocketFile) -> str:
    return f"mode {file.mode:04o}, owner {file.owner}, group {file.group}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"

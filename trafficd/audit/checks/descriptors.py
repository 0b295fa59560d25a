"""Judges whether all that a half has open is of a kind that it needs, and no more of it.

A half has: nothing as standard input and output, anything as standard error (the log goes there),
the loop's poll, and sockets. The reader's are two of netlink for each namespace, one to the
exporter and one to the agent, and the loop's own pair, by which signals wake it. The exporter's
are the listeners, its connections, and the same unix sockets.
"""

import socket
from collections import Counter
from collections.abc import Iterator, Sequence

from trafficd.audit.facts import Agent, Configuration, Descriptor, Process, Socket
from trafficd.audit.finding import Finding, Unread, judge, unread
from trafficd.sandbox.apply import Half
from trafficd.sandbox.socket_filter import ANSWERS, EVENTS, disassemble

_NULL = "/dev/null"
_STANDARD_INPUT, _STANDARD_OUTPUT, _STANDARD_ERROR = 0, 1, 2
_POLL = "anon_inode:[eventpoll]"
_INET = (socket.AF_INET, socket.AF_INET6)
_FAMILIES: dict[int, str] = {
    socket.AF_INET: "inet",
    socket.AF_INET6: "inet6",
    socket.AF_UNIX: "unix",
    socket.AF_NETLINK: "netlink",
    socket.AF_PACKET: "packet",
}
_KINDS: dict[int, str] = {
    socket.SOCK_STREAM: "stream",
    socket.SOCK_DGRAM: "datagram",
    socket.SOCK_RAW: "raw",
    socket.SOCK_SEQPACKET: "sequenced packets",
}
_RTNLGRP_LINK = 1  # linux/rtnetlink.h
_MEND = "restart trafficd; whoever starts it must leave nothing open to it"
_INIT = 1

# What is expected, and how often at most: to the exporter or reader, to the agent; the loop's pair.
_MOST = {"poll": 1, "one of the loop's pair": 2, "to the other half, or the agent": 2}


def descriptor_findings(process: Process, settings: Configuration) -> Iterator[Finding]:
    """Judge every descriptor of a half, by its kind and by the number of its kind."""
    half, source = process.half, f"/proc/{process.number}/fd, fdinfo; pidfd_getfd(2), getsockopt(2)"
    claims = ("filters", "groups", "handoff") if half is Half.READER else ("listeners",)
    if isinstance(process.descriptors, Unread):
        for claim in ("descriptors", "no_file_written", *claims):
            yield unread(f"{half}.{claim}", source, process.descriptors)
        return
    explained = [(each, _kind(each, process)) for each in process.descriptors]
    counts = Counter(kind for _, kind in explained)
    most = {**_MOST, "netlink": 2 * (1 + settings.namespaces)}
    unasked = [each for each, kind in explained if isinstance(each.socket, Unread) and not kind]
    strangers = [
        f"{each.number} is {_shown(each)}"
        for each, kind in explained
        if not kind and each not in unasked
    ]
    strangers += [
        f"{count} of the kind: {kind}; at most {most[kind]}"
        for kind, count in counts.items()
        if count > most.get(kind, count)
    ]
    yield judge(
        f"{half}.descriptors",
        False if strangers else (None if unasked else True),
        source,
        "; ".join(strangers)
        or "; ".join(f"{each.number} is {_shown(each)}" for each in unasked)
        or f"{len(explained)} open, all expected: {_summary(counts)}",
        mend=_MEND,
        details=[f"{each.number}: {_shown(each)}: {kind or '?'}" for each, kind in explained],
    )
    yield _no_file_written(process, process.descriptors)
    if unasked:
        for claim in claims:
            yield unread(f"{half}.{claim}", source, Unread("a socket could not be asked"))
    elif half is Half.READER:
        yield from _netlink(process.descriptors, settings)
        yield _handoff(process, process.descriptors)
    else:
        yield _listeners(process.descriptors)


def agent_finding(agent: Agent) -> Finding:
    """Judge what the agent has kept open: it handed the sockets over and must have closed them."""
    identity, source = "agent.descriptors", f"/proc/{agent.number}/fd; pidfd_getfd(2)"
    if isinstance(agent.descriptors, Unread):
        return unread(identity, source, agent.descriptors)
    if any(isinstance(each.socket, Unread) for each in agent.descriptors):
        return unread(identity, source, Unread("a socket could not be asked"))
    wrong = [
        f"{each.number} is {_shown(each)}"
        for each in agent.descriptors
        if isinstance(each.socket, Socket) and each.socket.family != socket.AF_UNIX
    ]
    count = sum(each.socket is not None for each in agent.descriptors)
    evidence = "; ".join(wrong) or f"{count} sockets, all unix"
    return judge(identity, not wrong, source, evidence, mend=_MEND)


def _kind(each: Descriptor, process: Process) -> str:
    """Return the expected kind that *each* is of; nothing if it is of none."""
    if each.number == _STANDARD_ERROR:
        return "standard error"
    if each.target == _NULL:
        return "nothing"
    if each.number in (_STANDARD_INPUT, _STANDARD_OUTPUT):
        return ""
    if each.target == _POLL:
        return "poll"
    if isinstance(each.socket, Socket):
        return _kind_of_socket(each.socket, process)
    return ""


def _kind_of_socket(each: Socket, process: Process) -> str:
    if each.family == socket.AF_UNIX and not each.is_listening:
        if each.peer == process.number:
            return "one of the loop's pair"
        return "to the other half, or the agent" if each.peer in (process.parent, _INIT) else ""
    if process.half is Half.READER:
        is_route = each.family == socket.AF_NETLINK and each.protocol == socket.NETLINK_ROUTE
        return "netlink" if is_route else ""
    if each.family in _INET and each.kind == socket.SOCK_STREAM:
        return "listener" if each.is_listening else "connection"
    return ""


def _no_file_written(process: Process, descriptors: Sequence[Descriptor]) -> Finding:
    written = [
        f"{each.number} is {each.target}"
        for each in descriptors
        if each.is_writable
        and each.target.startswith("/")
        and each.target != _NULL
        and each.number != _STANDARD_ERROR
    ]
    errors = [each.target for each in descriptors if each.number == _STANDARD_ERROR]
    mounts = process.writable_mounts
    evidence = "; ".join(written) or (
        f"none; standard error, for the sentences of the log, is {_named(errors)};"
        f" {'?' if isinstance(mounts, Unread) else mounts} mounts it sees are writable, and it can"
        " open nothing there"
    )
    source = f"/proc/{process.number}/fd, fdinfo flags, mountinfo"
    return judge(f"{process.half}.no_file_written", not written, source, evidence, mend=_MEND)


def _netlink(descriptors: Sequence[Descriptor], settings: Configuration) -> Iterator[Finding]:
    """Judge filters and groups: an event socket for each namespace, and one for answers."""
    found = [
        (each.number, each.socket.netlink)
        for each in descriptors
        if isinstance(each.socket, Socket) and each.socket.netlink is not None
    ]
    wanted = 1 + settings.namespaces
    wrong, details, joined = [], [], Counter[tuple[int, ...]]()
    for number, netlink in found:
        if isinstance(netlink.groups, Unread):
            wrong.append(f"{number}: its groups: {netlink.groups.reason}")
            continue
        joined[netlink.groups] += 1
        expected, name = (EVENTS, "EVENTS") if netlink.groups else (ANSWERS, "ANSWERS")
        if isinstance(netlink.program, Unread):
            wrong.append(f"{number}: its filter: {netlink.program.reason}")
        elif netlink.program != expected:
            carried = "another filter" if netlink.program else "no filter"
            wrong.append(f"{number} carries {carried}, not {name}")
        if not netlink.is_locked:
            wrong.append(f"{number} is not locked")
        if not isinstance(netlink.program, Unread):
            lines = enumerate(disassemble(netlink.program))
            details += [f"{number} {name} {place:03}: {line}" for place, line in lines]
    yield judge(
        "reader.filters",
        not wrong and bool(found),
        "SO_GET_FILTER, SO_LOCK_FILTER by pidfd_getfd(2); sandbox/socket_filter.py",
        "; ".join(wrong)
        or f"{len(found)} sockets, each with EVENTS ({len(EVENTS)} instructions) or ANSWERS"
        f" ({len(ANSWERS)}), locked",
        mend=_MEND,
        details=details,
    )
    yield judge(
        "reader.groups",
        dict(joined) == {(_RTNLGRP_LINK,): wanted, (): wanted},
        "NETLINK_LIST_MEMBERSHIPS by pidfd_getfd(2)",
        "; ".join(
            f"{count} in {', '.join(map(str, groups)) or 'none'}"
            for groups, count in sorted(joined.items())
        )
        + f"; expected {wanted} in {_RTNLGRP_LINK} (RTNLGRP_LINK), {wanted} in none",
        mend=_MEND,
    )


def _handoff(process: Process, descriptors: Sequence[Descriptor]) -> Finding:
    deaf = [
        each.number
        for each in descriptors
        if isinstance(each.socket, Socket)
        and each.socket.family == socket.AF_UNIX
        and each.socket.peer != process.number
        and each.number != _STANDARD_ERROR
        and each.socket.is_deaf
    ]
    evidence = f"{deaf[0]} is shut for receiving" if deaf else "no socket is shut for receiving"
    source = "POLLRDHUP of the socket, by pidfd_getfd(2); shutdown(2), poll(2)"
    return judge("reader.handoff", len(deaf) == 1, source, evidence, mend=_MEND)


def _listeners(descriptors: Sequence[Descriptor]) -> Finding:
    inet = [
        each.socket
        for each in descriptors
        if isinstance(each.socket, Socket) and each.socket.family in _INET
    ]
    ports = {each.port for each in inet if each.is_listening}
    # A connection that it began would come from a port of the kernel's choice.
    begun = [each for each in inet if each.port not in ports]
    wrong = [f"{len(begun)} sockets that no listener took"] if begun else []
    wrong += [] if ports else ["no listener"]
    shown = sorted({f"{each.address}:{each.port}" for each in inet if each.is_listening})
    connections = sum(not each.is_listening for each in inet)
    evidence = "; ".join(wrong) or f"listens on {', '.join(shown)}; {connections} connections to it"
    source = "getsockname(2), SO_ACCEPTCONN by pidfd_getfd(2)"
    return judge("exporter.listeners", not wrong, source, evidence, mend=_MEND)


def _shown(each: Descriptor) -> str:
    how = "to be written" if each.is_writable else "to be read"
    if each.socket is None:
        return f"{each.target}, {how}"
    if isinstance(each.socket, Unread):
        return f"a socket that could not be asked: {each.socket.reason}"
    family = _FAMILIES.get(each.socket.family, str(each.socket.family))
    kind = _KINDS.get(each.socket.kind, str(each.socket.kind))
    listening = ", listening" if each.socket.is_listening else ""
    return f"a socket: {family}, {kind}, protocol {each.socket.protocol}{listening}"


def _named(targets: Sequence[str]) -> str:
    return targets[0] if targets else "closed"


def _summary(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))

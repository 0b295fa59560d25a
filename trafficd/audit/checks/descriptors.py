"""Judges whether all that a half has open is of a kind that it needs, and no more of it.

A half has: nothing as standard input and output, anything as standard error (the log goes there),
the loop's poll, and sockets. Each may have the loop's own pair, by which signals wake it, one that
configurations come on, from the agent or from root, and one to the service manager. The reader has
two of netlink for each namespace besides, the one that exporters connect to, and those connections;
the exporter its listeners, its connections, and the one from the reader; where it pushes, those to
the destinations, and sockets for questions to nameservers.
"""

import socket
from collections import Counter
from collections.abc import Iterator, Sequence

from trafficd.audit.checks.sockets import exporter_findings, reader_findings, reload_finding
from trafficd.audit.facts import Configuration, Descriptor, Node, Process, Socket
from trafficd.audit.finding import Finding, Unread, judge, unread
from trafficd.sandbox.apply import Half

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
_MEND = "restart trafficd; whoever starts it must leave nothing open to it"
# Exporters that took another's place while it was not gone yet (reader/handoff.py).
_MOST_CONNECTIONS = 4

# What is expected, and how often at most.
_MOST = {
    "poll": 1,
    "one of the loop's pair": 2,
    "configurations, from the agent": 1,
    "configurations, from root": 1,
    "to the service manager": 1,
    "for exporters to connect to": 1,
    "to the exporter": _MOST_CONNECTIONS,
}
_CLAIMS = {
    Half.READER: ("reload", "filters", "groups", "queues", "handoff", "connections"),
    Half.EXPORTER: ("reload", "listeners"),
}


def descriptor_findings(process: Process, node: Node, settings: Configuration) -> Iterator[Finding]:
    """Judge every descriptor of a half of *node*, by its kind and by the number of its kind."""
    half, source = process.half, f"/proc/{process.number}/fd, fdinfo; pidfd_getfd(2), getsockopt(2)"
    if isinstance(process.descriptors, Unread):
        for claim in ("descriptors", "no_file_written", *_CLAIMS[half]):
            yield unread(f"{half}.{claim}", source, process.descriptors)
        return
    explained = [(each, _kind(each, process, node, settings)) for each in process.descriptors]
    counts = Counter(kind for _, kind in explained)
    most = {
        **_MOST,
        "netlink": 2 * (1 + settings.namespaces),
        # Only an agent hands configurations down a socket like the reader's.
        "from the reader, or the agent": 2 if node.agent else 1,
    }
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
        for claim in _CLAIMS[half]:
            yield unread(f"{half}.{claim}", source, Unread("a socket could not be asked"))
        return
    yield reload_finding(process, process.descriptors, node)
    if half is Half.READER:
        yield from reader_findings(process, process.descriptors, node)
    else:
        yield exporter_findings(process.descriptors, node, settings)


def _kind(each: Descriptor, process: Process, node: Node, settings: Configuration) -> str:
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
        if each.socket.family == socket.AF_UNIX:
            return _kind_of_unix(each.socket, process, node)
        return _kind_of_socket(each.socket, process, settings)
    return ""


def _kind_of_unix(each: Socket, process: Process, node: Node) -> str:
    if each.kind == socket.SOCK_DGRAM:
        return _kind_of_datagram(each, process)
    if each.peer == process.number and not each.is_listening:
        return "one of the loop's pair"
    if each.kind != socket.SOCK_SEQPACKET:
        return ""
    if process.half is Half.EXPORTER:
        is_ours = each.peer == node.starter and not each.is_listening
        return "from the reader, or the agent" if is_ours else ""
    if each.is_listening:
        return "for exporters to connect to"
    if node.agent and each.peer == node.starter:
        return "configurations, from the agent"
    return "to the exporter" if each.is_dead or each.peer == node.exporter.number else ""


def _kind_of_datagram(each: Socket, process: Process) -> str:
    if each.peer_address:
        is_manager = each.peer_address == process.notify_address and each.is_deaf
        return "to the service manager" if is_manager else ""
    return "configurations, from root" if each.address and not each.peer else ""


def _kind_of_socket(each: Socket, process: Process, settings: Configuration) -> str:
    if process.half is Half.READER:
        is_route = each.family == socket.AF_NETLINK and each.protocol == socket.NETLINK_ROUTE
        return "netlink" if is_route else ""
    if each.family in _INET and each.kind == socket.SOCK_STREAM:
        return "listener" if each.is_listening else "connection"
    asks_names = settings.way_out is not None and settings.way_out.asks_names
    if each.family in _INET and each.kind == socket.SOCK_DGRAM and asks_names:
        return "question to a nameserver"
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


def _shown(each: Descriptor) -> str:
    how = "to be written" if each.is_writable else "to be read"
    if each.socket is None:
        return f"{each.target}, {how}"
    if isinstance(each.socket, Unread):
        return f"a socket that could not be asked: {each.socket.reason}"
    family = _FAMILIES.get(each.socket.family, str(each.socket.family))
    kind = _KINDS.get(each.socket.kind, str(each.socket.kind))
    listening = ", listening" if each.socket.is_listening else ""
    to = f", to {each.socket.peer_address}" if each.socket.peer_address else ""
    return f"a socket: {family}, {kind}, protocol {each.socket.protocol}{listening}{to}"


def _named(targets: Sequence[str]) -> str:
    return targets[0] if targets else "closed"


def _summary(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))

"""One node of the demo: its traffic, its reader and its exporter, each a process."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from trafficd.config import AgentSettings, parse_config
from trafficd.demo.clock import FastClock
from trafficd.demo.collector import Place
from trafficd.demo.fleet import Member
from trafficd.demo.halves import count, serve
from trafficd.demo.laboratory import Laboratory
from trafficd.demo.processes import Family
from trafficd.demo.recording import Recording
from trafficd.demo.rhythm import busy
from trafficd.demo.schedule import STEP_SECONDS, Action, session_bytes, shared_bytes, steps
from trafficd.demo.traffic import Nobody, Traffic
from trafficd.demo.truth import Reporter
from trafficd.errors import TrafficdError
from trafficd.kernel.sockets import LinkSockets, open_link_sockets
from trafficd.releases import Release
from trafficd.rules import HOST_NAMESPACE
from trafficd.service.releases import connected_releases
from trafficd.wire.frame import encode_frame

HOST = "127.0.0.1"
WINDOW_SECONDS = 300  # the shortest there is
# A laboratory is there in milliseconds; a machine that needs longer has another problem.
_READY_SECONDS = 20.0
_READY = b"ready"
_MESSAGE_BYTES = 512

# Of the steps of a window, so many are played: the traffic stands still around its end.
_PLAYED = 0.95
# The shared link always moves something now and then.
_LEAST = 0.1

_CONFIGURATION = """
node: {{name: {name}, location: {location}}}
window: {window}s
links:
  - {{name: eth0, role: uplink, capacity: {capacity}bit}}
  - {{name: wg*, class: wireguard, population: shared}}
  - {{name: ppp*, class: ppp, population: per-session}}
metrics: {{listen: ["{host}:{port}"]}}
"""
_PUSH = """
push: [{{name: collector, url: "{url}", bearer_token_file: "{token_file}"}}]
"""


@dataclass(frozen=True, slots=True)
class Node:
    """What a node is, and its port on loopback; it pushes to *collector*, if there is one."""

    member: Member
    port: int
    collector: Place | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.member.name

    @property
    def settings(self) -> AgentSettings:
        """The agent's configuration of this node."""
        text = _CONFIGURATION.format(
            name=self.name,
            location=self.member.location,
            capacity=self.member.capacity_bits_per_second,
            window=WINDOW_SECONDS,
            host=HOST,
            port=self.port,
        )
        if self.collector is not None:
            token_file = self.collector.token_file(self.name)
            text += _PUSH.format(url=self.collector.write_url, token_file=token_file)
        return parse_config(text)


def start_laboratory(family: Family, node: Node, clock: FastClock) -> socket.socket:
    """Start what makes the namespace, the links and the traffic; return a channel to it."""
    ours, theirs = _pair()
    work = partial(_run_laboratory, node, clock, theirs)
    family.start(f"laboratory of {node.name}", work, keep=[theirs.fileno()])
    theirs.close()
    return ours


def take_sockets(channel: socket.socket) -> LinkSockets:
    """Return the sockets that a laboratory opened in its namespace.

    Raises: TrafficdError with the reason why there is no laboratory.
    """
    channel.settimeout(_READY_SECONDS)
    try:
        said, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 2)
    except OSError as error:
        raise TrafficdError("the laboratory did not get ready") from error
    if said != _READY:
        raise TrafficdError(said.decode() or "the laboratory ended")
    events, dumps = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    return LinkSockets(HOST_NAMESPACE, events, dumps)


def start_reader(family: Family, node: Node, clock: FastClock, links: LinkSockets) -> socket.socket:
    """Start the reader of a laboratory's links; return where the exporter gets its releases."""
    theirs, ours = connected_releases()
    work = partial(count, node.settings, clock, links, theirs)
    kept = (links.events, links.dumps, theirs)
    family.start(f"reader of {node.name}", work, keep=[each.fileno() for each in kept])
    for each in kept:
        each.close()
    return ours


def start_recording(
    family: Family, node: Node, clock: FastClock
) -> tuple[socket.socket, socket.socket]:
    """Start a recording in place of laboratory and reader; return what they return."""
    channel, their_channel = _pair()
    releases, their_releases = _pair()
    work = partial(_run_recording, node, clock, their_channel, their_releases)
    kept = (their_channel, their_releases)
    family.start(f"recording of {node.name}", work, keep=[each.fileno() for each in kept])
    for each in kept:
        each.close()
    return channel, releases


def start_exporter(family: Family, node: Node, clock: FastClock, releases: socket.socket) -> None:
    """Start the exporter of *releases*, in the network namespace that the demo was started in."""
    work = partial(serve, node.settings, releases, clock)
    family.start(f"exporter of {node.name}", work, keep=[releases.fileno()])
    releases.close()


def shared_times(member: Member, at: float, speed: float) -> float:
    """Return how often the shared link has to move something in a step.

    Then the node moves what its past ends with, at that time of the day; the sessions, without
    whom there would be no release, move the same at any.
    """
    steps_a_window = WINDOW_SECONDS / speed / STEP_SECONDS * _PLAYED
    wanted = member.level_bytes * busy(at, member.busiest_hour) / steps_a_window
    return max(_LEAST, (wanted - session_bytes(member.residents)) / shared_bytes())


def _steps(node: Node, clock: FastClock) -> Iterator[list[Action]]:
    return steps(
        node.name,
        node.member.residents,
        lambda: shared_times(node.member, clock.now().utc_seconds, clock.speed),
    )


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _run_laboratory(node: Node, clock: FastClock, channel: socket.socket) -> None:
    try:
        laboratory = Laboratory()
    except TrafficdError as error:
        channel.send(str(error).encode())
        return
    links = open_link_sockets(HOST_NAMESPACE)
    socket.send_fds(channel, [_READY], [links.events.fileno(), links.dumps.fileno()])
    # The reader has them now; whoever holds them holds the namespace.
    links.events.close()
    links.dumps.close()
    Traffic(
        laboratory,
        Reporter(channel),
        clock,
        window_seconds=WINDOW_SECONDS,
        timekeeper=Nobody(),
    ).play(_steps(node, clock))


def _run_recording(
    node: Node, clock: FastClock, channel: socket.socket, releases: socket.socket
) -> None:
    def send(release: Release) -> None:
        releases.send(encode_frame(release))

    recording = Recording(node.settings, send, clock.now(), speed=clock.speed)
    Traffic(
        recording,
        Reporter(channel),
        clock,
        window_seconds=WINDOW_SECONDS,
        timekeeper=recording,
    ).play(_steps(node, clock))

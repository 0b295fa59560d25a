"""Nothing that names a person, a peer or a session is in anything that leaves, however written.

Canaries are planted wherever such things stand, sessions live and die, things go wrong, processes
are restarted and killed; then everything that left is searched. That the search finds them is
tested in blindness/test_search.py, and here on readers that tell on purpose.
"""

import base64
import contextlib
import logging
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.blindness import search
from tests.blindness.node import WatchedAgent, netlink_ports
from tests.conftest import Namespace
from tests.evil.messages import RTM_NEWLINK, attribute, link_request, request
from tests.lab import (
    TunSession,
    open_and_close_sessions,
    queue_link_events,
    send_forged,
    without_ipv6,
)
from tests.reader.test_app import running
from tests.sandbox import machine
from tests.service.test_web_config_format import write_certificate, write_key
from trafficd.accounting.classify import Classifier
from trafficd.accounting.release import Publisher
from trafficd.exporter.metrics import render
from trafficd.kernel import events
from trafficd.kernel.link_message import Decoded, decode_link_messages
from trafficd.log import Message
from trafficd.releases import Totals
from trafficd.wire.frame import decode_frame

pytestmark = pytest.mark.kernel

MIB = 1 << 20
CROWD = 12
# One link for each class, named as its rule wants it, with an ifindex that is seen nowhere else,
# and what it moved.
LINKS = {
    "pppCANARYx7q3": (734_519, 73_519_877),
    "tunCANARYz9k2": (734_527, 61_830_463),
    "pppCANARYv4w8": (734_537, 58_290_739),
}
RENAMED, MALFORMED = "pppCANARYn5m6", "pppCANARYm1f0"
ALIAS, ALTNAME = "alias-CANARY-of-ada", "altname-CANARY-of-eve"
ADDRESS, PEER, ADDRESS6 = "198.51.100.173", "198.51.100.174", "2001:db8:ca4a:77::beef"
MAC, PEER_MAC = "02:ca:4a:7e:0b:b1", "02:ca:4a:7e:0b:b2"
USER, TITLE = "user-CANARY-grace", "pppd-CANARY-joan"
PATH, HEADER, LOGIN, PASSWORD = (
    "path-CANARY-1",
    "header-CANARY-2",
    "login-CANARY-3",
    "pass-CANARY-4",
)
SERVER_NAME, IN_CONFIG, IN_WEB_CONFIG = "sni-canary-5.example", "config-CANARY-6", "web-CANARY-7"
VETH = "vethCANARYk3"
IFNAME, STATS64 = 3, 23
TELLING = Path(__file__).parent / "blindness" / "telling"

IFINDEXES = [search.integer("ifindex", each, size=4) for each, _ in LINKS.values()]
BYTES = [search.integer("bytes of a session", each) for _, each in LINKS.values()]
WORDS = [
    *(search.text("name of a link", each) for each in (*LINKS, RENAMED, MALFORMED, VETH)),
    search.text("alias", ALIAS),
    search.text("altname", ALTNAME),
    search.ipv4("address", ADDRESS),
    search.ipv4("peer", PEER),
    search.ipv6("IPv6 address", ADDRESS6),
    search.mac("MAC", MAC),
    search.mac("peer's MAC", PEER_MAC),
    search.text("user in the environment", USER),
    search.text("title of a process", TITLE),
    search.text("path of a request", PATH),
    search.text("header of a request", HEADER),
    search.text("login of a request", LOGIN),
    search.text("password of a request", PASSWORD),
    search.text("server name of a request", SERVER_NAME),
    search.text("text of a bad configuration", IN_CONFIG),
    search.text("text of a bad web config", IN_WEB_CONFIG),
]
CANARIES = [*WORDS, *IFINDEXES, *BYTES]
CONFIG = """
window: 5m
release: {min_sessions: 5}
links:
  - {name: "eth*", role: uplink, capacity: 1Gbit}
  - {name: "ppp*", class: l2tp}
  - {name: "tun*", class: openvpn}
"""


@contextlib.contextmanager
def planted(namespace: Namespace) -> Iterator[list[TunSession]]:
    """Open the sessions, and put an alias, names, addresses and neighbours on them and beside."""
    without_ipv6(namespace.name)
    with contextlib.ExitStack() as ladder:
        sessions = [
            ladder.enter_context(TunSession(namespace.name, name, ifindex=ifindex))
            for name, (ifindex, _) in LINKS.items()
        ]
        first = next(iter(LINKS))
        namespace.ip("link", "set", first, "alias", ALIAS)
        namespace.ip("link", "property", "add", "dev", first, "altname", ALTNAME)
        namespace.ip("address", "add", ADDRESS, "peer", PEER, "dev", first)
        namespace.ip("link", "add", VETH, "address", MAC, "type", "veth", "peer", "name", "other")
        namespace.run("sysctl", "-qw", f"net.ipv6.conf.{VETH}.disable_ipv6=0")
        namespace.ip("link", "set", VETH, "up")
        namespace.ip("address", "add", f"{ADDRESS6}/64", "dev", VETH, "nodad")
        namespace.ip("neighbour", "add", PEER, "lladdr", PEER_MAC, "dev", VETH)
        # As pppd does, whose arguments name the peer.
        titled = subprocess.Popen([TITLE, "1000"], executable="/bin/sleep", env={"PEERNAME": USER})
        ladder.callback(titled.wait)
        ladder.callback(titled.kill)
        yield sessions


def move(namespace: str, sessions: list[TunSession]) -> None:
    """Let each session move its own number of bytes."""
    for session, (_, count) in zip(sessions, LINKS.values(), strict=True):
        session.receive(count)
        session.transmit(namespace, 1000)


@contextlib.contextmanager
def crowd(namespace: str) -> Iterator[None]:
    """Open enough other sessions of each class for a release, each with bytes of its own."""
    with contextlib.ExitStack() as ladder:
        for number in range(2 * CROWD):
            name = f"{('ppp', 'tun')[number % 2]}{number}"
            session = ladder.enter_context(TunSession(namespace, name, rx_bytes=20 * MIB + number))
            session.transmit(namespace, 1000)
        yield


def malformed() -> bytes:
    """Return a message about a link whose counters are too short to be any."""
    body = link_request(ifindex=1) + attribute(IFNAME, MALFORMED.encode() + b"\0")
    return request(RTM_NEWLINK, body + attribute(STATS64, bytes(8)))


def decode_broken(datagram: memoryview) -> Decoded:
    """Decode a message of the kernel's behind which another one breaks off."""
    return decode_link_messages(bytes(datagram) + bytes(datagram[:7]))


class Log(logging.Handler):
    """All that is logged, by anybody."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def log() -> Iterator[Log]:
    # What else is loaded is not asked to say more than it does by itself.
    handler, own, every = Log(), logging.getLogger("trafficd"), logging.getLogger()
    level = own.level
    own.setLevel(logging.INFO)
    every.addHandler(handler)
    yield handler
    every.removeHandler(handler)
    own.setLevel(level)


async def released(namespace: Namespace, log: Log) -> dict[str, bytes]:
    """Return all that leaves a reader in four windows: frames, the pages made of them, the log."""
    left: list[bytes] = []
    with planted(namespace) as sessions, pytest.MonkeyPatch.context() as patch:
        async with running(namespace, event_buffer_bytes=64 << 10) as reader:
            await reader.clock.run(1)
            with crowd(namespace.name):
                move(namespace.name, sessions)
                await reader.clock.run(400)
            left += reader.frames()
            # A message that is none of the kernel's is passed over; one of the kernel's that makes
            # no sense is a fault, and told of.
            for port in netlink_ports(namespace.name):
                send_forged(namespace.name, port, malformed())
            patch.setattr(events, "decode_link_messages", decode_broken)
            namespace.ip("link", "set", VETH, "down")
            namespace.ip("link", "set", next(iter(LINKS)), "down")
            namespace.ip("link", "set", next(iter(LINKS)), "name", RENAMED)
            await reader.clock.run(300)
            patch.undo()
            queue_link_events(namespace.name, 600)
            sessions[1].close()
            await reader.clock.run(300)
            reader.hand_down()
            await reader.clock.run(300)
            left += reader.frames()
    documents = {f"frame {number}": frame for number, frame in enumerate(left)}
    for number, frame in enumerate(left):
        for kind, page in render(decode_frame(frame)).items():
            documents[f"page {number}, {kind}"] = page.body
            documents[f"page {number}, {kind}, as gzip"] = page.gzipped
    documents["log"] = "\n".join(log.lines).encode()
    return documents


async def test_no_frame_page_or_log_of_a_reader_tells_of_a_session(
    namespace: Namespace, log: Log
) -> None:
    documents = await released(namespace, log)

    assert search.found(documents, CANARIES) == []
    # Not for the want of anything to tell, nor of anything gone wrong.
    newest = max(
        (decode_frame(each) for name, each in documents.items() if name.startswith("frame")),
        key=lambda release: release.at,
    )
    assert newest.tunnel.rx_bytes > sum(count for _, count in LINKS.values())
    assert newest.faults.overruns > 0
    assert newest.faults.malformed > 0
    assert Message.OVERRUN in log.lines
    assert Message.MALFORMED in log.lines


def tell_names(patch: pytest.MonkeyPatch) -> None:
    """Have each link's name logged when it is classified."""
    original = Classifier.group

    def group(self: Classifier, namespace: str, link: Any) -> Any:
        logging.getLogger("trafficd").info("link %s", link.shown_name)
        return original(self, namespace, link)

    patch.setattr(Classifier, "group", group)


def publish_each_link(patch: pytest.MonkeyPatch) -> None:
    """Have a series published for a link, called a class."""
    original = Publisher.decide

    def decide(self: Publisher, *arguments: Any, **others: Any) -> Any:
        decision = original(self, *arguments, **others)
        (name, (_, count)), *_ = LINKS.items()
        classes = (*decision.release.classes, (name.lower(), Totals(count, 0)))
        return replace(decision, release=replace(decision.release, classes=classes))

    patch.setattr(Publisher, "decide", decide)


@pytest.mark.parametrize(
    ("leak", "told"),
    [
        (tell_names, ["name of a link as text in log"]),
        (
            publish_each_link,
            [
                "name of a link as text in frame 1",
                "bytes of a session as 8 bytes, big-endian in frame 1",
                "name of a link as text in page 1, text/plain; version=0.0.4; charset=utf-8",
            ],
        ),
    ],
)
async def test_a_reader_that_tells_is_caught(
    namespace: Namespace,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    leak: Callable[[pytest.MonkeyPatch], None],
    told: list[str],
) -> None:
    leak(monkeypatch)

    documents = await released(namespace, log)

    assert set(told) <= set(search.found(documents, CANARIES))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, as the locked halves must."""
    with tempfile.TemporaryDirectory(prefix="trafficd-watched-") as name:
        yield Path(name)


@pytest.fixture
def ram() -> Iterator[Path]:
    """A folder on a tmpfs, for the state."""
    with tempfile.TemporaryDirectory(prefix="trafficd-watched-", dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def inputs(folder: Path) -> Path:
    """Write the configurations; what is in them is the operator's, and is not searched."""
    made = folder / "inputs"
    made.mkdir()
    (made / "web").mkdir()
    (made / "agent.yml").write_text(machine.configuration() + CONFIG)
    (made / "with-tls.yml").write_text(
        f"{machine.configuration()}{CONFIG}metrics: {{web_config: {made}/web/web.yml}}\n"
    )
    key = ec.generate_private_key(ec.SECP256R1())
    write_certificate(made / "web" / "server.crt", key)
    write_key(made / "web" / "server.key", key)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (made / "web" / "web.yml").write_text(
        "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
        f"basic_auth_users: {{{LOGIN}: {hashed}}}\n"
    )
    return made


def get(path: str = "/metrics", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"GET {path} HTTP/1.0", *lines, "", ""]).encode()


def basic(login: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{login}:{password}'.encode()).decode()}"


def ask_everything(agent: WatchedAgent) -> None:
    """Ask for all pages, and wrongly."""
    open_metrics = "application/openmetrics-text; version=1.0.0"
    assert b"trafficd_build_info" in agent.ask("metrics", get())
    assert b"# EOF" in agent.ask("OpenMetrics", get(Accept=open_metrics))
    agent.ask("gzip", get(Accept_Encoding="gzip"))
    agent.ask("OpenMetrics as gzip", get(Accept=open_metrics, Accept_Encoding="gzip"))
    assert b"200 OK" in agent.ask("health", get("/healthz"))
    assert b" 404 " in agent.ask("no such path", get(f"/{PATH}?{PATH}"))
    agent.ask("a header", get("/metrics", Cookie=HEADER, Referer=f"http://{HEADER}/"))
    agent.ask("a login that nobody asked for", get(Authorization=basic(LOGIN, PASSWORD)))
    assert b" 40" in agent.ask("no such method", f"{HEADER} / HTTP/1.1\r\n\r\n".encode())
    agent.ask("no HTTP", f"{PATH}\r\n{HEADER}\0\xff\r\n\r\n".encode("latin-1"))
    agent.ask("half a request", f"GET /{PATH} HTTP/1.1\r\nX-{HEADER}".encode(), hangs_up=True)
    agent.ask("too long a header", get("/", Cookie=HEADER * 5000))
    agent.ask(
        "a body that is none",
        f"POST /{PATH} HTTP/1.1\r\nContent-Length: x{HEADER}\r\n\r\n".encode(),
    )


def test_nothing_that_leaves_an_agent_names_anybody(
    namespace: Namespace, folder: Path, inputs: Path, ram: Path
) -> None:
    environment = {"USER": USER, "LOGNAME": USER, "SUDO_USER": USER, "CUSTOMER": TITLE}
    agent = WatchedAgent(namespace, folder, environment, ram)
    config = inputs / "agent.yml"

    with planted(namespace) as sessions:
        with agent.running(config):
            move(namespace.name, sessions)
            open_and_close_sessions(namespace.name, [MIB] * 20)
            for port in netlink_ports(namespace.name):
                send_forged(namespace.name, port, malformed())
            ask_everything(agent)
            config.write_text(f"links: [{IN_CONFIG}]\n{IN_CONFIG}: {ADDRESS}\n")
            agent.hang_up()
            agent.wait_for(b"configuration refused")
            config.write_text(machine.configuration() + CONFIG)
            agent.hang_up()
            agent.wait_for(b"link rules reread")
            agent.look_at_processes()
            agent.look_at_state("with sessions")
            agent.kill_half("reader")
            agent.wait_for(b"going on with the totals of the reader before")
            agent.look_at_state("after a kill")
            ended = [agent.end()]
        with agent.running(config):
            sessions[1].close()
            agent.kill_half("exporter")
            ask_everything(agent)
            agent.look_at_processes()
            ended.append(agent.end())
        with agent.running(inputs / "with-tls.yml"):
            right, wrong = basic(LOGIN, PASSWORD), basic(LOGIN, HEADER)
            served = agent.ask("TLS", get(Authorization=right), tls_name=SERVER_NAME)
            refused = agent.ask("TLS, refused", get(Authorization=wrong), tls_name=SERVER_NAME)
            agent.ask("TLS without a login", get(f"/{PATH}"), tls_name=SERVER_NAME)
            agent.ask("plain HTTP where TLS is spoken", get(f"/{PATH}"))
            (inputs / "web" / "web.yml").write_text(f"{IN_WEB_CONFIG}: {IN_WEB_CONFIG}\n")
            agent.hang_up()
            agent.wait_for(b"web config")
            agent.look_at_processes()
            for session in sessions:
                session.close()
            # Each rereading dumps and takes a checkpoint. The link with the alias is let go by the
            # second dump that misses it, since no event tells of it.
            for times in (2, 3):
                agent.hang_up()
                agent.wait_for(b"link rules reread", times=times)
            agent.look_at_state("without sessions")
            ended.append(agent.end())
            agent.look_at_state("after the end")

    assert b"trafficd_build_info" in served
    assert b" 401 " in refused
    assert ended == [0, 0, 0]
    assert search.found(agent.everything(), CANARIES) == []
    # What a session moved is on a seat until the next release; its ifindex is there as it is.
    assert search.found(agent.states, WORDS) == []
    gone = {name: agent.states[name] for name in ("without sessions", "after the end")}
    assert search.found(gone, IFINDEXES) == []
    assert search.found({"with sessions": agent.states["with sessions"]}, IFINDEXES) != []
    elsewhere = {**agent.foreign_files(), "journal": agent.journal()}
    assert search.found(elsewhere, CANARIES, shortest=search.SHORTEST_IN_FOREIGN_FILES) == []
    assert [each.name for each in (folder / "here").iterdir()] == []
    assert [each.name for each in (folder / "home").iterdir()] == []
    assert [each.name for each in (folder / "temporary").iterdir()] == []


def test_an_agent_that_tells_is_caught(namespace: Namespace, folder: Path, inputs: Path) -> None:
    agent = WatchedAgent(namespace, folder, {"PYTHONPATH": str(TELLING)})

    with planted(namespace), agent.running(inputs / "agent.yml"):
        agent.wait_for(VETH.encode())

    told = search.found(agent.everything(), CANARIES)
    assert "name of a link as text in streams/stderr of run 1" in told

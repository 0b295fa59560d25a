"""A collector's server on loopback without a database, and pushes made by other people's code."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cramjam

from tests.conftest import FakeClock
from trafficd.collector.credentials import Credentials, Entry, hash_of
from trafficd.collector.fleet import Fleet
from trafficd.collector.http import CollectorServer
from trafficd.collector.ingest import Ingest
from trafficd.collector.metrics import MetricsPage
from trafficd.collector.reception import Reception
from trafficd.collector.site import Site
from trafficd.collector.slices import Node
from trafficd.collector.writer import Arrival, Writer
from trafficd.errors import HistoryError
from trafficd.planning.document import Plan, WhatIf
from trafficd.service.listeners import open_listeners
from trafficd.service.web_config import WebConfig
from trafficd.units import ListenAddress
from trafficd.wire.messages import message_class
from trafficd.wire.remote_write import HEADERS, Protocol

MIB = 1 << 20
# 2023-11-14 22:00 UTC; the clock of these tests stands some minutes behind it.
AT = 1_699_999_200
NOW = 1_700_000_000.0
FRA, AMS, OLD = Node(1, "fra-1", "frankfurt"), Node(2, "ams-1", "amsterdam"), Node(3, "old", "fra")
TOKENS = {FRA: "token-of-fra-1", AMS: "token-of-ams-1", OLD: "token-of-old"}
UPLINK = "trafficd_uplink_receive_bytes_total"

Labels = Mapping[str, str]


def message(
    *series: tuple[str, Labels, float],
    node: Node = FRA,
    at: int = AT,
    protocol: Protocol = Protocol.V1,
) -> bytes:
    """Return an unpacked message of one sample a series, as google's protobuf writes it."""
    request = message_class(protocol)()
    symbols = [""]
    for name, labels, value in series:
        said = {"__name__": name, "node": node.name, "location": node.location, **labels}
        written = request.timeseries.add()
        if protocol is Protocol.V1:
            for label in sorted(said):
                written.labels.add(name=label, value=said[label])
        else:
            for word in (word for label in sorted(said) for word in (label, said[label])):
                if word not in symbols:
                    symbols.append(word)
                written.labels_refs.append(symbols.index(word))
        written.samples.add(value=value, timestamp=at * 1000)
    if protocol is Protocol.V2:
        request.symbols.extend(symbols)
    return bytes(request.SerializeToString())


def packed(unpacked: bytes) -> bytes:
    """Return *unpacked* as a snappy block."""
    return bytes(cramjam.snappy.compress_raw(unpacked))


def push(total: float = MIB, *, node: Node = FRA, at: int = AT) -> bytes:
    """Return the body of a push of one total."""
    return packed(message((UPLINK, {}, total), node=node, at=at))


def headers(node: Node | None = FRA, protocol: Protocol = Protocol.V1) -> dict[str, str]:
    """Return the headers of a push."""
    token = {"Authorization": f"Bearer {TOKENS[node]}"} if node else {}
    return {**HEADERS[protocol], **token}


def request(body: bytes, asked: Mapping[str, str], *, line: str = "POST /api/v1/write") -> bytes:
    """Return a whole request as it crosses the network."""
    lines = [f"{line} HTTP/1.1", "Host: collector", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in asked.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


@dataclass
class Answered:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """A connection to the server, on which bytes are sent as a test likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, sent: bytes) -> Answered:
        """Send *sent* and return the next answer."""
        self.writer.write(sent)
        return await self.answer(has_body=not sent.startswith(b"HEAD "))

    async def answer(self, *, has_body: bool = True) -> Answered:
        """Return the next answer."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.rstrip().split("\r\n")
            found = {name.title(): value for name, _, value in (i.partition(": ") for i in lines)}
            assert len(found) == len(lines), head
            length = int(found.get("Content-Length", "0")) if has_body else 0
            body = await self.reader.readexactly(length)
        return Answered(int(status.split()[1]), found, body)

    async def is_ended(self) -> bool:
        """Wait until the server has ended the connection, in whatever way."""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(10):
                return not await self.reader.read()
        return True


class Unplanned:
    """No plan yet, and none to come."""

    async def plan(self) -> Plan | None:
        return None

    async def what_if(self, supposed: Sequence[tuple[str, str]]) -> WhatIf:
        raise HistoryError("no plan")


@dataclass
class Collected:
    """A server on a free port, and what it stored."""

    server: CollectorServer
    writer: Writer
    reception: Reception
    credentials: Credentials
    fleet: Fleet
    clock: FakeClock
    port: int
    stored: list[Arrival] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """Connect to it."""
        line = Line(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            yield line
        finally:
            line.writer.transport.abort()

    async def ask(self, sent: bytes) -> Answered:
        """Ask on a connection of its own."""
        async with self.line() as line:
            return await line.ask(sent)

    async def push(self, body: bytes, asked: Mapping[str, str] | None = None) -> Answered:
        """Push *body*."""
        return await self.ask(request(body, headers() if asked is None else asked))

    def values(self) -> list[tuple[int, int, dict[str, float]]]:
        """Return node, time and values of all that was stored."""
        return [
            (number, each.at, dict(zip(map(str, each.series), each.values, strict=True)))
            for number, slices in self.stored
            for each in slices
        ]


def entries(*, revoked: Sequence[Node] = (OLD,)) -> list[Entry]:
    return [
        Entry(node, hash_of(token), is_revoked=node in revoked) for node, token in TOKENS.items()
    ]


Append = Callable[[Sequence[Arrival]], Sequence[str | None]]


@contextlib.asynccontextmanager
async def collecting(
    *,
    web: WebConfig | None = None,
    append: Append | None = None,
    gate: asyncio.Event | None = None,
    most_connections: int = 64,
) -> AsyncIterator[Collected]:
    """Serve; what is stored is kept in a list, unless *append* does otherwise.

    With a *gate*, no batch is durable before that is set.
    """
    clock = FakeClock(NOW)
    credentials, fleet = Credentials(), Fleet()
    credentials.replace(entries())
    fleet.know((node, NOW, node is not OLD) for node in TOKENS)
    stored: list[Arrival] = []

    async def store(batch: Sequence[Arrival]) -> Sequence[str | None]:
        if gate is not None:
            await gate.wait()
        if append is not None:
            return append(batch)
        stored.extend(batch)
        return [None] * len(batch)

    writer = Writer(store, fleet.keep)
    reception = Reception(credentials, Ingest(), writer, clock)
    page = MetricsPage(fleet, reception.results, lambda: 4096, lambda: None, clock)
    listeners = open_listeners([ListenAddress("127.0.0.1:0")], key="listen", backlog=64)
    server = CollectorServer(
        listeners,
        reception,
        page,
        Site(Unplanned()),
        lambda: not writer.is_full,
        clock,
        most_connections=most_connections,
    )
    await server.start(web or WebConfig.nothing())
    port = listeners[0].getsockname()[1]
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(writer.run())
        try:
            yield Collected(server, writer, reception, credentials, fleet, clock, port, stored)
        finally:
            await server.close()
            writing.cancel()

"""A receiver of remote write on loopback that keeps what it was sent and answers as it is told.

Messages are read by Google's protobuf and cramjam, by the specifications' own definitions.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import cramjam
from aiohttp import web

from tests.conftest import FakeClock
from tests.wire.specification import said
from trafficd.destinations import Destination, Url
from trafficd.exporter.credentials import Credentials
from trafficd.exporter.names import NameService
from trafficd.exporter.post import Post
from trafficd.exporter.push import Pusher, Sender
from trafficd.releases import Release, Totals
from trafficd.units import Word
from trafficd.wire.frame import encode_frame, trimmed

MIB = 1 << 20
HOUR = 3600
# On the grid of an hour, and of a day.
MIDNIGHT = 1_700_006_400
NOBODY_TO_ASK = NameService(servers=("127.0.0.1",), port=9)
WRITTEN = {"X-Prometheus-Remote-Write-Samples-Written": "100"}

Series = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Heard:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def series(self) -> list[tuple[dict[str, str], list[tuple[int, float]]]]:
        """Return the labels of each series, and its samples as (milliseconds, value)."""
        message = bytes(cramjam.snappy.decompress_raw(self.body))
        return said(message, is_second="v2" in self.headers["Content-Type"])

    @property
    def at(self) -> int:
        """Return the one time in the message, in seconds."""
        (time,) = {time for _, samples in self.series for time, _ in samples}
        assert time % 1000 == 0
        return time // 1000


@dataclass
class Says:
    """One answer."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """What it heard, and what it says: each of *says* once, and then 204 for ever."""

    def __init__(self, says: Sequence[Says] = ()) -> None:
        self.says = list(says)
        self.always = Says()
        # Before all else: what it says to one request, if anything.
        self.judge: Callable[[Heard], Says | None] = lambda _: None
        self.heard: list[Heard] = []
        self.most_under_way = self._under_way = 0
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        host = "localhost" if self.scheme == "https" else "127.0.0.1"
        return f"{self.scheme}://{host}:{self.port}/api/v1/write"

    async def answer(self, request: web.Request) -> web.Response:
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        body = await request.read()
        for _ in range(5):
            # A second message would come in now.
            await asyncio.sleep(0)
        self._under_way -= 1
        heard = Heard(request.method, request.path, dict(request.headers), body)
        self.heard.append(heard)
        said_now = self.judge(heard) or (self.says.pop(0) if self.says else self.always)
        return web.Response(
            status=said_now.status, headers=dict(said_now.headers), body=said_now.body
        )


@asynccontextmanager
async def receiving(*says: Says, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver(says)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    receiver.port = runner.addresses[0][1]
    receiver.scheme = "https" if tls else "http"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def answering(answer: Callable[[asyncio.StreamWriter], object]) -> AsyncIterator[int]:
    """Serve on a free port what *answer* writes behind each request's head and body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
            answer(writer)
            if not writer.transport.is_closing():
                writer.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def destination(url: str, **more: object) -> Destination:
    """Return a destination that says no more than a test is about."""
    return Destination(name=Word("centre"), url=Url.parse(url), **more)  # type: ignore[arg-type]


def release(at: int, *, received: int = 3 * MIB, started_at: int = MIDNIGHT) -> Release:
    """Return a release of one class."""
    return Release(
        at, started_at, 10**10, Totals(received, 0), Totals(), (("l2tp", Totals(received, 0)),)
    )


def frame(at: int, **more: int) -> bytes:
    """Return the release of *at* as it is kept."""
    return trimmed(encode_frame(release(at, **more)))


class Pause(FakeClock):
    """A clock on which a sleep is over at once, and is remembered."""

    def __init__(self, utc_seconds: float) -> None:
        super().__init__(utc_seconds)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await super().sleep(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def posting(
    to: Destination, credentials: Credentials | None = None, names: NameService = NOBODY_TO_ASK
) -> AsyncIterator[Post]:
    """Have a way to *to* that is open for as long as the block."""
    post = Post(to, credentials or Credentials(to), names)
    try:
        yield post
    finally:
        await post.close()


@asynccontextmanager
async def pushing(
    to: Destination,
    *,
    clock: FakeClock | None = None,
    node: str = "fra-17",
    chance: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Pusher]:
    """Have a pusher to *to*; nothing is sent until it runs."""
    credentials = Credentials(to)
    async with posting(to, credentials) as post:
        yield Pusher(
            to,
            Sender(node, "fra", HOUR),
            post,
            credentials.look,
            clock=clock or Pause(MIDNIGHT + 20 * HOUR),
            chance=chance,
        )


async def run_until(pusher: Pusher, is_done: Callable[[], bool]) -> None:
    """Run *pusher* until *is_done*."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(pusher.run())
        while not is_done():  # what it waits for happens in this loop
            assert not task.done(), task
            await asyncio.sleep(0)
        task.cancel()


async def send_all(pusher: Pusher) -> None:
    """Run *pusher* until nothing is left to be sent."""
    await run_until(pusher, lambda: not pusher.health(before=1 << 40).pending)

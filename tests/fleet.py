"""Nodes that push: their messages made beforehand, sent as fast as answered or at a rate."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trafficd.releases import Release, Totals
from trafficd.schema import ROUNDING_BYTES
from trafficd.series import Series, series_of
from trafficd.wire.remote_write import HEADERS, Layout, Protocol, stored_block

CLASSES = ("wireguard", "openvpn", "ppp", "l2tp", "ipsec", "ocserv")
LOCATION = "frankfurt"
_DAY_SECONDS = 24 * 60 * 60
# Within what a collector keeps, and room for as many windows as anybody here needs.
FIRST_AT = (int(time.time()) // _DAY_SECONDS - 300) * _DAY_SECONDS
WINDOW_SECONDS = 300
_CAPACITY = 10**10


def node_name(number: int) -> str:
    """Return the name of a node, all of them as long."""
    return f"node-{number:05}"


def release(number: int, window: int) -> Release:
    """Return what a node released at its *window*-th grid point: totals that grow by gigabytes."""

    def totals(factor: int) -> Totals:
        base = (window + 1) * factor * (1000 + number % 97)
        return Totals(base * ROUNDING_BYTES, (base * 5 + number) * ROUNDING_BYTES)

    return Release(
        at=FIRST_AT + window * WINDOW_SECONDS,
        started_at=FIRST_AT - WINDOW_SECONDS,
        capacity_bits_per_second=_CAPACITY,
        uplink=totals(13),
        tunnel=totals(12),
        classes=tuple((name, totals(place + 1)) for place, name in enumerate(CLASSES)),
    )


def twenty(series: Iterable[tuple[Series, float]]) -> list[tuple[Series, float]]:
    """Return the 20 series of a release that are neither the histogram nor a fault."""
    return [
        each for each in series if "_ratio_" not in each[0].name and "_faults_" not in each[0].name
    ]


def bodies(number: int, windows: range, *, is_whole: bool) -> Iterator[bytes]:
    """Yield the compressed messages of a node, with all their series or with 20."""
    layout = None
    for window in windows:
        said = series_of(release(number, window))
        said = said if is_whole else twenty(said)
        if layout is None:
            series = [each for each, _ in said]
            layout = Layout(node_name(number), LOCATION, series, Protocol.V1)
        at = FIRST_AT + window * WINDOW_SECONDS
        yield stored_block(layout.pack(at, [value for _, value in said]))


def request(path: str, body: bytes, token: str, *, is_last: bool = False) -> bytes:
    """Return a push as it goes over a connection."""
    fields = {
        "Host": "collector",
        **HEADERS[Protocol.V1],
        "Authorization": f"Bearer {token}",
        "Content-Length": str(len(body)),
        "Connection": "close" if is_last else "keep-alive",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back: how long each answer took, and how many were no 2xx."""

    seconds: list[float]
    refused: int

    def percentile(self, share: float) -> float:
        """Return the time that this share of the answers kept within."""
        ranked = sorted(self.seconds)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


async def send_all(port: int, queues: Sequence[Sequence[bytes]], *, step: int = 0) -> Answers:
    """Send the requests of each queue over a connection of its own, one after the other.

    After every *step* of them the queues wait for each other, so that none gets ahead in time.
    """
    barrier = asyncio.Barrier(len(queues))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_send_queue(port, each, barrier, step)) for each in queues]
    return _together(task.result() for task in tasks)


async def send_spread(port: int, requests: Sequence[bytes], *, seconds: float) -> Answers:
    """Send each request over a connection of its own, evenly over so many seconds."""
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number, each in enumerate(requests):
            due = started + seconds * number / len(requests)
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            tasks.append(group.create_task(_send_queue(port, [each])))
    return _together(task.result() for task in tasks)


async def _send_queue(
    port: int, queue: Sequence[bytes], barrier: asyncio.Barrier | None = None, step: int = 0
) -> Answers:
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found, refused = [], 0
    for number, each in enumerate(queue):
        if barrier is not None and step and number % step == 0:
            await barrier.wait()
            began = time.perf_counter()
        writer.write(each)
        head = await reader.readuntil(b"\r\n\r\n")
        now = time.perf_counter()
        found.append(now - began)
        began = now
        refused += not head.startswith(b"HTTP/1.1 20")
        at = head.lower().find(b"content-length:")
        if at >= 0 and (length := int(head[at + 15 : head.index(b"\r", at)])):
            await reader.readexactly(length)
    writer.close()
    return Answers(found, refused)


def _together(parts: Iterable[Answers]) -> Answers:
    seconds: list[float] = []
    refused = 0
    for each in parts:
        seconds += each.seconds
        refused += each.refused
    return Answers(seconds, refused)

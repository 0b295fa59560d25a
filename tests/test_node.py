"""The whole path: real traffic on a real kernel, counted by the reader, read off the page.

Only the clock is a fake: an hour passes when the test says so.
"""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import FakeClock, Namespace
from tests.lab import TunSession, kernel_links, without_ipv6
from trafficd.config import parse_config
from trafficd.continuity.keeper import Keeper
from trafficd.continuity.state_file import state_in_memory
from trafficd.exporter.http import MetricsServer, open_listeners
from trafficd.exporter.intake import Intake
from trafficd.kernel.sockets import open_link_sockets
from trafficd.reader.app import Reader, Surroundings
from trafficd.reader.configuration import Configuration
from trafficd.service.lifecycle import run_until
from trafficd.service.lifeline import Lifeline
from trafficd.service.notify import ServiceManager
from trafficd.service.releases import connected_releases
from trafficd.service.web_config import WebConfig
from trafficd.units import ListenAddress

pytestmark = pytest.mark.kernel

MIB = 1024 * 1024
HOUR = 3600
CONFIG = """
links:
  - {name: "eth*", role: uplink, capacity: 10Gbit}
  - {name: "tun*", class: openvpn, population: shared}
"""


class ManualClock(FakeClock):
    """A clock on which a sleeper waits until the test has moved it far enough."""

    def __init__(self) -> None:
        super().__init__(utc_seconds=1_700_000_000 // HOUR * HOUR)
        self._moved = asyncio.Event()

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._moved.set()

    async def sleep(self, seconds: float) -> None:
        until = self.moment.elapsed_seconds + seconds
        while self.moment.elapsed_seconds < until:
            self._moved.clear()
            await self._moved.wait()


class Node:
    """Reader and exporter, connected as in production, in one loop for the test's sake."""

    def __init__(self, clock: ManualClock, intake: Intake, server: MetricsServer, url: str) -> None:
        self._clock = clock
        self._intake = intake
        self._server = server
        self._url = url

    async def next_page(self) -> dict[str, float]:
        """Let an hour pass and return the page of its end: series and values."""
        self._clock.advance(HOUR)
        async with asyncio.timeout(20):
            self._server.show(await self._intake.next_release())
            async with ClientSession() as client, client.get(self._url) as answer:
                page = await answer.text()
        return {
            sample.name + "".join(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }


@asynccontextmanager
async def counting(namespace: str) -> AsyncIterator[Node]:
    """Run a node on the links of *namespace*."""
    clock = ManualClock()
    listener, connection = connected_releases()
    given = Surroundings(
        links=[open_link_sockets(namespace)],
        releases=listener,
        clock=clock,
        keeper=Keeper(state_in_memory()),
        lifeline=Lifeline(None),
        manager=ServiceManager({}),
    )
    async with AsyncExitStack() as ladder:
        reader = Reader(Configuration(parse_config(CONFIG), CONFIG), given)
        ladder.callback(reader.close)
        intake = Intake(connection, lambda: parse_config(CONFIG).classes)
        ladder.callback(intake.close)
        (http,) = open_listeners([ListenAddress("127.0.0.1:0")])
        server = MetricsServer([http], "/metrics")
        await server.start(WebConfig.nothing())
        ladder.push_async_callback(server.close)
        await reader.start()
        server.show(await intake.next_release())
        url = f"http://127.0.0.1:{http.getsockname()[1]}/metrics"
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(run_until(stop, reader.workers()))
            yield Node(clock, intake, server, url)
            stop.set()


async def run_in(namespace: str, *command: str) -> str:
    """Run *command* in *namespace* while the loop goes on."""
    process = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", namespace, *command, stdout=subprocess.PIPE
    )
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


async def test_iperf3_over_the_uplink_is_on_the_page_as_ip_says(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    if shutil.which("iperf3") is None:
        pytest.skip("needs iperf3")
    for each in (namespace, other_namespace):
        without_ipv6(each.name)
    namespace.ip(
        "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other_namespace.name
    )
    for number, each in ((1, namespace), (2, other_namespace)):
        each.ip("addr", "add", f"192.0.2.{number}/24", "dev", "eth0")
        each.ip("link", "set", "eth0", "up")
    async with AsyncExitStack() as ladder:
        server = await asyncio.create_subprocess_exec(
            "ip", "netns", "exec", other_namespace.name, "iperf3", "-s", "-1", "--forceflush",
            stdout=subprocess.PIPE,
        )  # fmt: skip
        ladder.callback(end, server)
        assert server.stdout is not None
        async with asyncio.timeout(20):
            while b"listening" not in await server.stdout.readline():
                pass

        async with counting(namespace.name) as node:
            before = uplink(namespace)
            sent = json.loads(
                await run_in(namespace.name, "iperf3", "-c", "192.0.2.2", "-n", "64M", "-J")
            )
            async with asyncio.timeout(20):
                await server.communicate()
            page = await node.next_page()
            after = uplink(namespace)

    moved = [after[direction] - before[direction] for direction in (0, 1)]
    assert moved[1] >= sent["end"]["sum_received"]["bytes"] > 32 * MIB
    assert page["trafficd_uplink_receive_bytes_total"] == moved[0] // MIB * MIB
    assert page["trafficd_uplink_transmit_bytes_total"] == moved[1] // MIB * MIB


def end(process: asyncio.subprocess.Process) -> None:
    """End *process* where the test did not come to its end."""
    with suppress(ProcessLookupError):
        process.kill()


def uplink(namespace: Namespace) -> tuple[int, int]:
    """Return what `ip -s link` says that eth0 received and sent."""
    (link,) = (each for each in kernel_links(namespace.name).values() if each.name == "eth0")
    return link.rx_bytes, link.tx_bytes


async def test_sessions_of_a_moment_are_on_the_page_to_the_byte_before_rounding(
    namespace: Namespace,
) -> None:
    async with counting(namespace.name) as node:
        for number in range(50):
            TunSession(namespace.name, f"tun{number}", rx_bytes=MIB // 10).close()
        first = await node.next_page()
        with TunSession(namespace.name, "tun0", rx_bytes=4 * MIB):
            second = await node.next_page()
        third = await node.next_page()

    moved = 50 * (MIB // 10)
    assert first["trafficd_class_receive_bytes_totalopenvpn"] == moved // MIB * MIB
    assert second["trafficd_tunnel_receive_bytes_total"] == (moved + 4 * MIB) // MIB * MIB
    assert third == {**second, "trafficd_release_timestamp_seconds": third_at(second)}


def third_at(second: dict[str, float]) -> float:
    return second["trafficd_release_timestamp_seconds"] + HOUR

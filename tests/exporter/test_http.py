"""The server: real requests over loopback."""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import bcrypt
import pytest
from aiohttp import ClientSession

from trafficd.errors import TrafficdError
from trafficd.exporter.http import MetricsServer, open_listeners
from trafficd.exporter.metrics import OPEN_METRICS, TEXT
from trafficd.releases import Release, Totals
from trafficd.service.web_config import WebConfig, load_web_config
from trafficd.units import ListenAddress

MIB = 1024 * 1024
RELEASE = Release(7200, 3600, 0, Totals(3 * MIB, 0), Totals(), ())
PLAIN = {"Accept-Encoding": "identity"}
LATER = Release(10800, 3600, 0, Totals(5 * MIB, 0), Totals(), ())


class Served:
    """A server on a free port, and a client for it."""

    def __init__(self, server: MetricsServer, port: int, client: ClientSession) -> None:
        self.server = server
        self.client = client
        self.url = f"http://127.0.0.1:{port}"


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    listeners = open_listeners([ListenAddress("127.0.0.1:0")])
    server = MetricsServer(listeners, "/metrics")
    await server.start(WebConfig.nothing())
    async with ClientSession(auto_decompress=False, headers=PLAIN) as client:
        yield Served(server, listeners[0].getsockname()[1], client)
    await server.close()


async def test_metrics_is_the_newest_release(served: Served) -> None:
    served.server.show(RELEASE)
    served.server.show(LATER)

    async with served.client.get(f"{served.url}/metrics") as answer:
        body = await answer.text()

    assert answer.status == 200
    assert answer.headers["Content-Type"] == TEXT
    assert "trafficd_uplink_receive_bytes_total 5.24288e+06\n" in body


async def test_openmetrics_and_gzip_are_sent_as_asked(served: Served) -> None:
    served.server.show(RELEASE)
    asked = {"Accept": "application/openmetrics-text", "Accept-Encoding": "gzip"}

    async with served.client.get(f"{served.url}/metrics", headers=asked) as answer:
        body = gzip.decompress(await answer.read())

    assert answer.headers["Content-Type"] == OPEN_METRICS
    assert answer.headers["Content-Encoding"] == "gzip"
    assert body.endswith(b"# EOF\n")


async def test_two_scrapes_between_releases_are_the_same_bytes(served: Served) -> None:
    served.server.show(RELEASE)

    bodies = set()
    for _ in range(3):
        async with served.client.get(f"{served.url}/metrics") as answer:
            bodies.add(await answer.read())

    assert len(bodies) == 1


async def test_healthz_is_well_once_there_is_a_page(served: Served) -> None:
    async with served.client.get(f"{served.url}/healthz") as before:
        pass
    served.server.show(RELEASE)
    async with served.client.get(f"{served.url}/healthz") as after:
        pass

    assert (before.status, after.status) == (503, 200)


async def test_head_is_the_page_without_its_body(served: Served) -> None:
    served.server.show(RELEASE)

    async with served.client.get(f"{served.url}/metrics") as full:
        length = len(await full.read())
    async with served.client.head(f"{served.url}/metrics") as answer:
        body = await answer.read()

    assert (answer.status, body) == (200, b"")
    assert answer.headers["Content-Length"] == str(length)


async def test_other_paths_and_methods_are_refused(served: Served) -> None:
    served.server.show(RELEASE)

    async with served.client.get(f"{served.url}/etc/passwd") as unknown:
        pass
    async with served.client.post(f"{served.url}/metrics", data=b"x") as posted:
        pass

    assert unknown.status == 404
    assert (posted.status, posted.headers["Allow"]) == (405, "GET, HEAD")


async def test_no_answer_tells_which_library_serves(served: Served) -> None:
    for path in ("/metrics", "/healthz", "/x"):
        async with served.client.get(served.url + path) as answer:
            assert answer.headers["Server"] == "trafficd"


async def test_users_of_the_web_config_are_asked_for_their_password(
    served: Served, tmp_path: Path
) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file = tmp_path / "web.yml"
    file.write_text(
        f'basic_auth_users: {{prometheus: "{hashed}"}}\n'
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    )
    served.server.show(RELEASE)
    await served.server.start(load_web_config(file))

    statuses = []
    for login in ("", "prometheus:wrong", "prometheus:secret"):
        asked = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        async with served.client.get(f"{served.url}/metrics", headers=asked) as answer:
            statuses.append(answer.status)
    async with served.client.get(f"{served.url}/healthz") as health:
        pass

    assert statuses == [401, 401, 200]
    assert health.status == 200
    assert answer.headers["X-Frame-Options"] == "deny"


async def test_a_new_web_config_loses_no_connection_that_comes_meanwhile(served: Served) -> None:
    served.server.show(RELEASE)
    stop = asyncio.Event()
    statuses: list[int] = []

    async def scrape() -> None:
        while not stop.is_set():
            headers = {"Connection": "close"}
            async with served.client.get(f"{served.url}/metrics", headers=headers) as answer:
                statuses.append(answer.status)

    async with asyncio.TaskGroup() as group:
        group.create_task(scrape())
        for _ in range(20):
            await served.server.start(WebConfig.nothing())
            seen = len(statuses)
            while len(statuses) == seen:  # noqa: ASYNC110  # the scraper is in the same loop
                await asyncio.sleep(0)
        stop.set()

    assert set(statuses) == {200}


def test_a_port_in_use_is_named() -> None:
    (first,) = open_listeners([ListenAddress("127.0.0.1:0")])
    port = first.getsockname()[1]

    with first, pytest.raises(TrafficdError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
        open_listeners([ListenAddress(f"127.0.0.1:{port}")])


@pytest.mark.parametrize("address", ["[::1]:0", ":0", "localhost:0"])
def test_every_way_to_write_an_address_is_listened_on(address: str) -> None:
    (listener,) = open_listeners([ListenAddress.parse(address)])

    with listener:
        assert listener.getsockname()[1] > 0

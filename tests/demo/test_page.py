"""A node's page, read like any scraper reads it."""

import socket

from trafficd.demo.page import Published, published, scrape
from trafficd.exporter.metrics import TEXT, render
from trafficd.releases import Release, Totals


def test_the_totals_on_a_page_are_those_that_were_released() -> None:
    release = Release(
        at=1_700_000_400,
        started_at=1_700_000_100,
        capacity_bits_per_second=0,
        uplink=Totals(5 << 20, 6 << 20),
        tunnel=Totals(7 << 20, 8 << 20),
        classes=(("ppp", Totals(1 << 20, 2 << 20)),),
    )

    page = published(render(release)[TEXT].body.decode())

    assert page == Published(release.at, release.uplink, release.tunnel)


def test_a_node_that_does_not_answer_has_published_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    assert scrape("127.0.0.1", port, "/metrics") is None

"""GET /metrics at 10,000 links: the body's size, and requests a second on one core."""

import os
import re
import shutil
import sys
from pathlib import Path

from bench.agent import (
    AGENT_PORT,
    NODE_EXPORTER_PORT,
    fetch,
    pin,
    pinned,
    running_agent,
    running_node_exporter,
)
from bench.laboratory import LINKS, Laboratory, UnsoundError, inside, run
from bench.table import Row

MOST_BYTES = 32 << 10
LEAST_A_SECOND = 2_000

_SECONDS = 8
_CONNECTIONS = 8
# node_exporter takes a second or more for a page, and the first warms it.
_PEER_SECONDS = 12
_PEER_CONNECTIONS = 1

# What Prometheus sends with a scrape, as of 2.53.
PROMETHEUS_HEADERS = {
    "Accept": (
        "application/openmetrics-text;version=1.0.0;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    ),
    "Accept-Encoding": "gzip",
}


def measure(laboratory: Laboratory) -> list[Row]:
    """Return the rows of the body and of the rates, ours beside node_exporter's."""
    namespace = laboratory.many_links()
    cores = sorted(os.sched_getaffinity(0))
    with running_agent(laboratory, namespace) as agent:
        pin(agent.exporter, cores[0])
        body = fetch(namespace, AGENT_PORT)
        plain = _rate(namespace, AGENT_PORT, cores[-1])
        asked = _rate(namespace, AGENT_PORT, cores[-1], PROMETHEUS_HEADERS)
    with running_node_exporter(namespace) as peer:
        if peer is None:
            peer_bytes = peer_rate = "no node_exporter here"
        else:
            pin(peer, cores[0])
            page = fetch(namespace, NODE_EXPORTER_PORT)
            peer_bytes = f"node_exporter {len(page):,} bytes"
            seconds = _peer_seconds(page)
            peer_rate = f"node_exporter {_peer_rate(namespace, cores[-1]):.2f}"
    rows = [
        Row.held(
            f"/metrics at {LINKS:,} links, body",
            f"{len(body):,} bytes",
            f"< {MOST_BYTES:,} bytes",
            is_held=len(body) < MOST_BYTES,
            beside=peer_bytes,
        ),
        _row("plain", plain, peer_rate),
        _row("as Prometheus asks", asked, peer_rate),
    ]
    if peer is not None:
        rows.append(Row.reported("sample by node_exporter's netdev collector", f"{seconds:.2f} s"))
    return rows


def _row(case: str, a_second: float, peer: str) -> Row:
    return Row.held(
        f"/metrics on one core, {case}",
        f"{a_second:,.0f} a second",
        f">= {LEAST_A_SECOND:,} a second",
        is_held=a_second >= LEAST_A_SECOND,
        beside=peer,
    )


def _rate(
    namespace: str,
    port: int,
    core: int,
    headers: dict[str, str] | None = None,
    *,
    seconds: int = _SECONDS,
    connections: int = _CONNECTIONS,
) -> float:
    """Return requests a second that a client on *core* gets answered."""
    if shutil.which("wrk"):
        client = ["wrk", "-t1", "--timeout", "60s"]
    else:
        client = [sys.executable, str(Path(__file__).with_name("client.py"))]
    client += [f"-c{connections}", f"-d{seconds}s"]
    for name, value in (headers or {}).items():
        client += ["-H", f"{name}: {value}"]
    url = f"http://127.0.0.1:{port}/metrics"
    printed = run(*inside(namespace, *pinned(core), *client, url))
    if bad := re.search(r"Non-2xx.*|Socket errors.*", printed):
        raise UnsoundError(bad[0])
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if found is None:
        raise UnsoundError(printed)
    return float(found[1])


def _peer_rate(namespace: str, core: int) -> float:
    return _rate(
        namespace,
        NODE_EXPORTER_PORT,
        core,
        seconds=_PEER_SECONDS,
        connections=_PEER_CONNECTIONS,
    )


def _peer_seconds(page: bytes) -> float:
    """Return how long node_exporter says that its collector took."""
    found = re.search(
        rb'^node_scrape_collector_duration_seconds\{collector="netdev"\} (\S+)', page, re.MULTILINE
    )
    return float(found[1]) if found else 0.0

"""The exporter with a month to push: how long that takes, and in what memory."""

import re
import socket
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.agent import memory
from bench.ingest import collector, token_of
from bench.laboratory import Laboratory, UnsoundError, running, trafficd
from bench.table import Row
from tests.fleet import CLASSES, FIRST_AT, LOCATION, WINDOW_SECONDS, node_name, release
from trafficd.service.releases import open_releases
from trafficd.wire.frame import encode_frame, past_frame, trimmed

MONTH = 744
MOST_SECONDS = 10.0
MOST_BYTES = 48_000_000
_PATIENCE_SECONDS = 90.0
_LOOK_SECONDS = 0.05
_CONFIGURATION = """
node: {{name: {node}, location: {location}}}
window: {window}s
links: [{rules}]
metrics: {{listen: ["127.0.0.1:0"]}}
push:
  - name: collector
    url: http://127.0.0.1:{port}/api/v1/write
    bearer_token_file: {token}
"""


def measure(laboratory: Laboratory) -> Iterator[Row]:
    """Yield the rows of the time and of the exporter's memory afterwards."""
    with (
        tempfile.TemporaryDirectory(dir=laboratory.folder) as name,
        collector(Path(name), nodes=1) as (port, _),
    ):
        place = Path(name)
        (place / "token").write_text(token_of(0))
        config = place / "agent.yml"
        config.write_text(
            _CONFIGURATION.format(
                node=node_name(0),
                location=LOCATION,
                window=WINDOW_SECONDS,
                rules=", ".join(f'{{name: "{each}*", class: {each}}}' for each in CLASSES),
                port=port,
                token=place / "token",
            )
        )
        # The newest of them are of now: what is older than a month is not sent.
        newest = int(time.time() - FIRST_AT) // WINDOW_SECONDS
        windows = range(newest - MONTH + 1, newest + 1)
        frames = [encode_frame(release(0, window)) for window in windows]
        with open_releases(place / "releases") as listener:
            command = trafficd(
                "exporter", "--config", str(config), "--releases", str(place / "releases")
            )
            # It ends with its reader, whose end of the connection is here.
            with running(command) as process, _handed_over(listener, frames):
                seconds = _seconds_to_push(port)
                held = memory(process.pid).resident_bytes
    yield Row.held(
        f"a month's backlog, {MONTH} releases of 97 series, pushed",
        f"{seconds:.1f} s",
        f"<= {MOST_SECONDS:.0f} s",
        is_held=seconds <= MOST_SECONDS,
    )
    yield Row.held(
        "memory of an exporter that pushed it",
        f"{held / 1e6:.1f} MB",
        f"<= {MOST_BYTES / 1e6:.0f} MB",
        is_held=held <= MOST_BYTES,
    )


def _handed_over(listener: socket.socket, frames: list[bytes]) -> socket.socket:
    """Give the exporter what a reader gives it: the latest frame, and those before it."""
    listener.settimeout(_PATIENCE_SECONDS)
    connection, _ = listener.accept()
    *past, latest = frames
    for each in (latest, *(past_frame(trimmed(frame)) for frame in past)):
        connection.sendall(each)
    return connection


def _seconds_to_push(port: int) -> float:
    """Return how long it took from the first message that the collector stored to the last."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    first_at = 0.0
    while (stored := _stored(port)) < MONTH:
        now = time.monotonic()
        if now > deadline:
            raise UnsoundError(f"{stored} of {MONTH} releases in {_PATIENCE_SECONDS} s")
        if stored and not first_at:
            first_at = now
        time.sleep(_LOOK_SECONDS)
    return time.monotonic() - first_at


def _stored(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        page = answer.read().decode()
    found = re.search(r'trafficd_collector_messages_total\{result="stored"\} (\d+)', page)
    return int(found[1]) if found else 0

"""The collector: what a message costs beside Prometheus, a whole fleet at once, and /metrics."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from bench.agent import memory, pin
from bench.laboratory import Laboratory, UnsoundError, running, trafficd
from bench.table import Row
from tests.fleet import LOCATION, Answers, bodies, node_name, request, send_all, send_spread
from trafficd.collector.store import Store

LEAST_TIMES_PROMETHEUS = 1.0
FLEET = 10_000
MOST_P99_SECONDS = 0.25
MOST_P99_WHILE_SCRAPED_SECONDS = 0.4
MOST_SCRAPE_SECONDS = 1.5
MOST_BYTES = 250_000_000
MOST_BYTES_A_RELEASE = 200

_PAIRS = 5
# Each connection has the same number of nodes.
_NODES, _WINDOWS, _CONNECTIONS = 256, 40, 64
_FLEET_SECONDS = 60.0
_READY_SECONDS = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PROMETHEUS = "prometheus"

Served = Callable[[Path], contextlib.AbstractContextManager[tuple[int, int]]]


def measure(laboratory: Laboratory) -> Iterator[Row]:
    """Yield the rows of one message, of a fleet, and of /metrics meanwhile."""
    yield from _beside_prometheus(laboratory.folder)
    yield from _fleet(laboratory.folder)


def _beside_prometheus(folder: Path) -> Iterator[Row]:
    what = "ingest of 20 series, messages a CPU-second"
    if shutil.which(_PROMETHEUS) is None:
        yield Row.skipped(what, f"no {_PROMETHEUS} here")
        return
    ratios, ours, theirs = [], [], []
    for _ in range(_PAIRS):
        ours.append(_messages_a_second(folder, collector, "/api/v1/write"))
        theirs.append(_messages_a_second(folder, _prometheus, "/api/v1/write"))
        ratios.append(ours[-1] / theirs[-1])
    ratio = median(ratios)
    yield Row.held(
        what,
        f"{ratio:.2f} x Prometheus ({min(ratios):.2f} to {max(ratios):.2f})",
        f">= {LEAST_TIMES_PROMETHEUS} x",
        is_held=ratio >= LEAST_TIMES_PROMETHEUS,
        beside=f"{median(ours):,.0f}; Prometheus {median(theirs):,.0f}",
    )


def _messages_a_second(folder: Path, served: Served, path: str) -> float:
    """Return how many messages a second of one core takes, the store's work included."""
    with tempfile.TemporaryDirectory(dir=folder) as place, served(Path(place)) as (port, process):
        cores = sorted(os.sched_getaffinity(0))
        pin(process, cores[0])
        os.sched_setaffinity(0, {cores[-1]})
        try:
            queues: list[list[bytes]] = [[] for _ in range(_CONNECTIONS)]
            made = [bodies(number, range(_WINDOWS), is_whole=False) for number in range(_NODES)]
            for window in zip(*made, strict=True):
                for number, body in enumerate(window):
                    queues[number % _CONNECTIONS].append(request(path, body, token_of(number)))
            a_window = _NODES // _CONNECTIONS
            # Series that are new are another matter.
            first = [queue[:a_window] for queue in queues]
            _refuse_refusals(asyncio.run(send_all(port, first, step=a_window)))
            rest = [queue[a_window:] for queue in queues]
            before = _cpu_seconds(process)
            _refuse_refusals(asyncio.run(send_all(port, rest, step=a_window)))
            return sum(map(len, rest)) / (_cpu_seconds(process) - before)
        finally:
            os.sched_setaffinity(0, cores)


def _fleet(folder: Path) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        with collector(place, nodes=FLEET) as (port, process):
            windows: list[list[bytes]] = [[], [], []]
            for number in range(FLEET):
                whole = bodies(number, range(len(windows)), is_whole=True)
                for window, body in zip(windows, whole, strict=True):
                    window.append(request("/api/v1/write", body, token_of(number), is_last=True))
            first, second, third = windows
            _refuse_refusals(asyncio.run(send_spread(port, first, seconds=_FLEET_SECONDS)))
            size = _database_bytes(place)
            answers = asyncio.run(send_spread(port, second, seconds=_FLEET_SECONDS))
            _refuse_refusals(answers)
            grown = (_database_bytes(place) - size) / FLEET
            p99 = answers.percentile(0.99)
            yield Row.held(
                f"{FLEET:,} nodes in a minute, p99 of the answers",
                f"{p99 * 1000:.0f} ms",
                f"<= {MOST_P99_SECONDS * 1000:.0f} ms",
                is_held=p99 <= MOST_P99_SECONDS,
                beside=f"the first of each node: {size / FLEET:.0f} bytes a node",
            )
            yield Row.held(
                "growth of the database, a node and release of 97 series",
                f"{grown:.0f} bytes",
                f"<= {MOST_BYTES_A_RELEASE} bytes",
                is_held=grown <= MOST_BYTES_A_RELEASE,
            )
            scraped = _Scraped(port)
            scraped.start()
            answers = asyncio.run(send_spread(port, third, seconds=_FLEET_SECONDS / 2))
            scraped.end()
            p99, seconds = answers.percentile(0.99), median(scraped.seconds)
            yield Row.held(
                f"/metrics of {FLEET:,} nodes while they push",
                f"{seconds:.2f} s, at most {max(scraped.seconds):.2f}",
                f"<= {MOST_SCRAPE_SECONDS} s",
                is_held=seconds <= MOST_SCRAPE_SECONDS,
                beside=f"{scraped.size / 1e6:.1f} MB, {len(scraped.seconds)} scrapes",
            )
            yield Row.held(
                "the same, p99 of the answers",
                f"{p99 * 1000:.0f} ms",
                f"<= {MOST_P99_WHILE_SCRAPED_SECONDS * 1000:.0f} ms",
                is_held=p99 <= MOST_P99_WHILE_SCRAPED_SECONDS,
            )
            held = memory(process).resident_bytes
            yield Row.held(
                f"memory of the collector, {FLEET:,} nodes",
                f"{held / 1e6:.0f} MB",
                f"<= {MOST_BYTES / 1e6:.0f} MB",
                is_held=held <= MOST_BYTES,
            )


class _Scraped(threading.Thread):
    """Asks for /metrics over and over."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._ends = threading.Event()
        self.seconds: list[float] = []
        self.size = 0

    def run(self) -> None:
        while not self._ends.wait(1.0):
            started = time.perf_counter()
            with urllib.request.urlopen(self._url, timeout=60) as answer:
                self.size = len(answer.read())
            self.seconds.append(time.perf_counter() - started)

    def end(self) -> None:
        """Stop asking."""
        self._ends.set()
        self.join()


@contextlib.contextmanager
def collector(place: Path, *, nodes: int = _NODES) -> Iterator[tuple[int, int]]:
    """Run our collector with a database in *place*; yield its port and its process."""
    port = _free_port()
    database = place / "collector.db"
    store = Store(database)
    for number in range(nodes):
        digest = hashlib.sha256(token_of(number).encode()).digest()
        store.add_node(node_name(number), LOCATION, digest)
    store.close()
    config = place / "collector.yml"
    config.write_text(f'listen: ["127.0.0.1:{port}"]\ndatabase: {database}\n')
    with running(trafficd("collector", "--config", str(config))) as process:
        _wait(port, "/healthz")
        yield port, process.pid


@contextlib.contextmanager
def _prometheus(place: Path) -> Iterator[tuple[int, int]]:
    """Run Prometheus as a receiver with its data in *place*, on a core as ours is."""
    port = _free_port()
    config = place / "prometheus.yml"
    # A backlog from the past goes into an empty head; nothing is scraped.
    config.write_text("global: {scrape_interval: 1h}\n")
    command: Sequence[str] = [
        *("env", "GOMAXPROCS=1", _PROMETHEUS, f"--config.file={config}"),
        *(f"--storage.tsdb.path={place / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
        *("--web.enable-remote-write-receiver", "--log.level=error"),
        "--storage.tsdb.retention.time=100y",
    ]
    with running(list(command)) as process:
        _wait(port, "/-/ready")
        yield port, process.pid


def _wait(port: int, path: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
            return
        time.sleep(0.05)
    raise UnsoundError(f"nobody answers on port {port}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def token_of(number: int) -> str:
    """Return the token of a node."""
    return f"token-of-{number:05}"


def _cpu_seconds(process: int) -> float:
    """Return the processor time of *process* (proc_pid_stat(5), utime and stime)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _database_bytes(place: Path) -> int:
    """Return how large the database is, whether its log is in the file already or not."""
    uri = f"file:{place / 'collector.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        pages, size = (
            connection.execute(f"PRAGMA {each}").fetchone()[0]
            for each in ("page_count", "page_size")
        )
    return int(pages * size)


def _refuse_refusals(answers: Answers) -> None:
    if answers.refused:
        raise UnsoundError(f"{answers.refused} of {len(answers.seconds)} messages were refused")

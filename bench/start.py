"""From exec to the first answer: each half on its own, handed its sockets as by the agent."""

import contextlib
import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import sandbox
from bench.agent import running_agent
from bench.laboratory import LINKS, ROOT, Laboratory, UnsoundError, end, trafficd
from bench.table import Row
from trafficd.kernel.sockets import open_link_sockets
from trafficd.releases import Release, Totals
from trafficd.rules import HOST_NAMESPACE
from trafficd.service.releases import connected_releases
from trafficd.service.sockets import RELEASES
from trafficd.wire.frame import FRAME_BYTES, encode_frame

MOST_SECONDS = 0.6

_RUNS = 7
_ANSWER_SECONDS = 60.0
_LOOK_SECONDS = 0.001
_FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
# Above any descriptor that is handed over, so that moving one never overwrites another.
_OUT_OF_THE_WAY = 64


@dataclass(frozen=True, slots=True)
class _Start:
    """Seconds from exec to the first answer, and how many of them the process had a core."""

    seconds: float
    core_seconds: float


def measure(laboratory: Laboratory) -> Iterator[Row]:
    """Yield the rows of the exporter, of the reader, and of both as the agent starts them."""
    exporter = _median(lambda: _exporter_start(laboratory.folder))
    yield _row("exporter, exec to first page", exporter)
    many = laboratory.many_links()
    with laboratory.namespace() as empty:
        without_links = _median(lambda: _reader_start(laboratory, empty))
    yield _row("reader without links, exec to first frame", without_links)
    with_links = _median(lambda: _reader_start(laboratory, many))
    yield _row(f"reader at {LINKS:,} links, exec to first frame", with_links)
    agent = median(_agent_seconds(laboratory, many) for _ in range(_RUNS))
    yield Row.reported(f"agent at {LINKS:,} links, exec to first page", f"{agent:.2f} s")


def _row(what: str, start: _Start) -> Row:
    return Row.held(
        what,
        f"{start.seconds:.2f} s",
        f"<= {MOST_SECONDS} s",
        is_held=start.seconds <= MOST_SECONDS,
        beside=f"{start.core_seconds:.2f} s of a core",
    )


def _median(once: Callable[[], _Start]) -> _Start:
    once()  # the first one also reads the files from disk
    starts = [once() for _ in range(_RUNS)]
    return _Start(
        median(each.seconds for each in starts), median(each.core_seconds for each in starts)
    )


def _reader_start(laboratory: Laboratory, namespace: str) -> _Start:
    """Return the time to the frame that the reader hands out when it has all links."""
    listener, exporter = connected_releases()
    links = open_link_sockets(namespace)
    sockets = [
        (RELEASES, listener),
        (HOST_NAMESPACE, links.events),
        (HOST_NAMESPACE, links.dumps),
    ]
    exporter.settimeout(_ANSWER_SECONDS)
    config = laboratory.folder / "reader.yml"
    config.write_text(sandbox.configuration())
    with exporter, laboratory.state() as state:
        arguments = ["reader", "--config", str(config), "--state", str(state / "state")]
        started = time.perf_counter()
        with _half(arguments, sockets) as process:
            frame = exporter.recv(FRAME_BYTES + 1)
            start = _start(process, started)
    if len(frame) != FRAME_BYTES:
        raise UnsoundError("the reader ended without a frame")
    return start


def _exporter_start(folder: Path) -> _Start:
    """Return the time to the first page, with a frame that waits for the exporter."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    config = folder / "exporter.yml"
    listen = f'metrics: {{listen: ["127.0.0.1:{port}"]}}\n'
    config.write_text(sandbox.configuration() + listen)
    with ours:
        ours.send(encode_frame(Release(0, 0, 0, Totals(), Totals(), ())))
        started = time.perf_counter()
        with _half(["exporter", "--config", str(config)], [(RELEASES, theirs)]) as process:
            _ask_until_answered(port)
            return _start(process, started)


def _start(process: int, started: float) -> _Start:
    """Return what the start of *process* has taken until now."""
    seconds = time.perf_counter() - started
    # Nanoseconds on a core (Documentation/scheduler/sched-stats.rst); both halves have one thread.
    on_core = (Path("/proc") / str(process) / "schedstat").read_text().split()[0]
    return _Start(seconds, int(on_core) / 1e9)


def _agent_seconds(laboratory: Laboratory, namespace: str) -> float:
    with running_agent(laboratory, namespace) as agent:
        return agent.first_answer_seconds


@contextlib.contextmanager
def _half(arguments: list[str], sockets: Sequence[tuple[str, socket.socket]]) -> Iterator[int]:
    """Run one half of trafficd meanwhile, *sockets* its own; yield its process."""
    moved = [
        fcntl.fcntl(each.fileno(), fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY) for _, each in sockets
    ]
    for _, each in sockets:
        each.close()
    # The process that has to know its own id is the one that the shell becomes.
    places = " ".join(
        f"{_FIRST_DESCRIPTOR + number}<&{descriptor} {descriptor}<&-"
        for number, descriptor in enumerate(moved)
    )
    process = subprocess.Popen(
        ["bash", "-c", f'LISTEN_PID=$$ exec "$@" {places}', "-", *trafficd(*arguments)],
        cwd=ROOT,
        env={
            **os.environ,
            "LISTEN_FDS": str(len(moved)),
            "LISTEN_FDNAMES": ":".join(name for name, _ in sockets),
        },
        pass_fds=moved,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for descriptor in moved:
            os.close(descriptor)
        yield process.pid
    finally:
        end(process)


def _ask_until_answered(port: int) -> None:
    """Return when the first page is there.

    Raises: UnsoundError if it does not come.
    """
    request = b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n"
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS) as client:
                client.sendall(request)
                if client.recv(1 << 16).startswith(b"HTTP/1.1 200 "):
                    return
        except ConnectionError:
            time.sleep(_LOOK_SECONDS)
    raise UnsoundError("the exporter does not answer")

"""`trafficd agent` at work in a namespace, and node_exporter beside it."""

import contextlib
import http.client
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import sandbox
from bench.laboratory import Laboratory, UnsoundError, entered, inside, program, running, trafficd

# Each namespace has its own loopback: nobody else listens there.
AGENT_PORT = 9787
NODE_EXPORTER_PORT = 9100
NODE_EXPORTER = "prometheus-node-exporter"

_ANSWER_SECONDS = 60.0
_LOOK_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Agent:
    """The processes of one agent, by id, and how long it took from exec to its first answer."""

    reader: int
    exporter: int
    first_answer_seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds in RAM; Pss counts pages shared with others by their share."""

    resident_bytes: int
    proportional_bytes: int


@contextlib.contextmanager
def running_agent(laboratory: Laboratory, namespace: str) -> Iterator[Agent]:
    """Run the agent in *namespace* with every default, from before its first answer on."""
    config = laboratory.folder / "agent.yml"
    config.write_text(sandbox.configuration())
    with laboratory.state() as state:
        agent = trafficd("agent", "--config", str(config), "--state", str(state))
        started = time.perf_counter()
        with running(inside(namespace, *agent)) as process:
            wait_for_answer(namespace, AGENT_PORT)
            seconds = time.perf_counter() - started
            halves = _children(process.pid)
            yield Agent(halves["reader"], halves["exporter"], seconds)


@contextlib.contextmanager
def running_node_exporter(namespace: str) -> Iterator[int | None]:
    """Run node_exporter's netdev collector meanwhile; yield its process, or None if absent."""
    if shutil.which(NODE_EXPORTER) is None:
        yield None
        return
    command = inside(
        namespace,
        NODE_EXPORTER,
        "--collector.disable-defaults",
        "--collector.netdev",
        f"--web.listen-address=127.0.0.1:{NODE_EXPORTER_PORT}",
    )
    with running(command) as process:
        wait_for_answer(namespace, NODE_EXPORTER_PORT, path="/")
        yield process.pid


def pinned(core: int) -> list[str]:
    """Return what to put before a command so that it stays on *core*.

    Raises: MissingToolError if there is no taskset.
    """
    return [program("taskset"), "-c", str(core)]


def fetch(
    namespace: str, port: int, path: str = "/metrics", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return the body of *path* on the loopback of *namespace*."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    with contextlib.closing(connection):
        with entered(namespace):
            connection.connect()
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise UnsoundError(f"{path}: {answer.status}")
    return body


def wait_for_answer(namespace: str, port: int, path: str = "/metrics") -> None:
    """Return when somebody answers there.

    Raises: UnsoundError if nobody does.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline:
        try:
            fetch(namespace, port, path)
        except ConnectionError:
            time.sleep(_LOOK_SECONDS)
        else:
            return
    raise UnsoundError(f"nobody answers on port {port} of {namespace}")


def memory(process: int) -> Memory:
    """Return what *process* holds in RAM now."""
    folder = Path("/proc") / str(process)
    return Memory(
        _kibibytes(folder / "status", "VmRSS:"), _kibibytes(folder / "smaps_rollup", "Pss:")
    )


def _kibibytes(file: Path, key: str) -> int:
    """Return the value of *key* in bytes (proc_pid_status(5): kB there means KiB)."""
    for line in file.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) << 10
    raise UnsoundError(f"{file}: no {key}")


def _children(parent: int) -> dict[str, int]:
    """Return the processes that *parent* started, by the command of `trafficd` that they run."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            # The fields of proc_pid_stat(5) behind the name, which may hold anything.
            ours = int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            if ours:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                found[words[words.index("trafficd") + 1]] = int(folder.name)
    return found


def pin(process: int, core: int) -> None:
    """Keep every thread of *process* on *core*."""
    for thread in (Path("/proc") / str(process) / "task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})

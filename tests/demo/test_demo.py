"""The whole demo: real processes, and real packets where they are allowed."""

import contextlib
import itertools
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trafficd.demo.fleet import FLEET
from trafficd.schema import ROUNDING_BYTES

NODES = {"fra-1", "ams-1", "nyc-1"}
TOTALS = [
    f"{group}_{direction}_bytes"
    for group in ("uplink", "tunnel")
    for direction in ("receive", "transmit")
]
PATIENCE_SECONDS = 60.0
COMMAND = [sys.executable, "-B", "-m", "trafficd", "demo", "--port", "0"]


def with_history(days: int) -> list[str]:
    """Return a command that runs the demo with so many days of history."""
    program = (
        "import functools, sys; from trafficd.demo import app; from trafficd.cli import main;"
        f" app.run_demo = functools.partial(app.run_demo, history_days={days});"
        " sys.exit(main(['demo', '--port', '0', *sys.argv[1:]]))"
    )
    return [sys.executable, "-B", "-c", program]


# Two years would keep both cores of a small machine busy, in every test.
DEMO = with_history(days=1)
# As on most machines, anybody may open it here; tests see a /dev/net of their own.
OPEN_TUN = "mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200"
NO_TUN = "mount -t tmpfs none /dev/net"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to allow and forbid things")


class Demo:
    """A running demo, read line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self.headline = self._line()
        self.pages = dict(self._node_and_page() for _ in NODES)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        self.children = [int(number) for number in children.read_text().split()]
        self.namespaces = {namespace_of(child) for child in self.children}
        self.namespaces.discard(namespace_of(os.getpid()))

    def releases(self, count: int) -> dict[str, list[dict[str, str]]]:
        """Return the first releases whose truth is known, *count* or more of each node."""
        known: dict[str, list[dict[str, str]]] = defaultdict(list)
        while len(known) < len(NODES) or min(map(len, known.values())) < count:
            line = self._line()
            if "sessions_opened" in line:
                words = dict(word.split("=") for word in line.split())
                known[words["node"]].append(words)
        return known

    def said(self, pattern: str) -> re.Match[str]:
        """Return the first line in which there is *pattern*, read already or not yet."""
        for line in itertools.chain(self.lines, iter(self._line, None)):
            if found := re.search(pattern, line):
                return found
        raise AssertionError(pattern)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def is_gone(self) -> bool:
        """Return whether no process of it is left, and so no namespace and no link either.

        A namespace itself cannot be looked for: its number is given to the next one at once.
        """
        return not any(map(is_alive, self.children))

    def _node_and_page(self) -> tuple[str, str]:
        words = dict(word.split("=") for word in self._line().split())
        return words["node"], words["metrics"]

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the demo ended"
        self.lines.append(line.rstrip("\n"))
        return self.lines[-1]


@contextlib.contextmanager
def running(*command: str) -> Iterator[Demo]:
    process = subprocess.Popen(
        command or DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # readline() waits for ever.
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    with process:
        try:
            yield Demo(process)
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()


def with_dev_net(prepare: str, *as_whom: str) -> list[str]:
    """Return a command that runs the demo with a /dev/net of its own."""
    return ["unshare", "-m", "sh", "-c", f'{prepare} && exec "$@"', "sh", *as_whom, *DEMO]


def can(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def namespace_of(process: int) -> str:
    try:
        return str(Path(f"/proc/{process}/ns/net").readlink())
    except OSError:
        return ""


def is_alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    # One that nobody has waited for holds nothing any more (proc(5)).
    return status.rpartition(")")[2].split()[0] not in "ZX"


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def assert_published_is_truth_rounded_down(releases: list[dict[str, str]]) -> None:
    for words in releases:
        published = {name: int(words[name]) for name in TOTALS}
        truth = {name: int(words[f"truth_{name}"]) for name in TOTALS}
        assert published == {
            name: total // ROUNDING_BYTES * ROUNDING_BYTES for name, total in truth.items()
        }
        assert min(truth.values()) > 0


def links_here() -> set[str]:
    return {link.name for link in Path("/sys/class/net").iterdir()}


@pytest.mark.kernel
@needs_root
def test_a_laboratory_publishes_the_truth_rounded_down_and_leaves_nothing_behind() -> None:
    links_before = links_here()

    with running() as demo:
        releases = demo.releases(2)
        with urllib.request.urlopen(demo.pages["fra-1"], timeout=10) as answer:
            page = answer.read().decode()
        code = demo.stop()

        assert "real packets" in demo.headline
        assert set(releases) == NODES
        for node in NODES:
            assert_published_is_truth_rounded_down(releases[node])
            # Most of these lived for milliseconds; their bytes are in the totals above.
            assert int(releases[node][-1]["sessions_gone"]) > 20
        assert len(demo.namespaces) == len(NODES)
        assert re.search(r'^trafficd_class_receive_bytes_total{class="ppp"} \d', page, re.M)
        assert "eth0" not in page
        assert code == 0
        assert demo.is_gone()
        assert not {link for link in links_here() - links_before if link.startswith("ppp")}


@pytest.mark.kernel
@needs_root
def test_a_laboratory_needs_no_root_where_user_namespaces_are_allowed() -> None:
    if not can([*NOBODY, "unshare", "-Urn", "true"]):
        pytest.skip("user namespaces are not allowed here")
    if not can([*NOBODY, sys.executable, "-B", "-c", "import trafficd.demo.app"]):
        pytest.skip("trafficd is installed where only its owner can read it")

    with running(*with_dev_net(OPEN_TUN, *NOBODY)) as demo:
        releases = demo.releases(1)
        code = demo.stop(signal.SIGTERM)

        assert "real packets" in demo.headline
        for node in NODES:
            assert_published_is_truth_rounded_down(releases[node])
        assert len(demo.namespaces) == len(NODES)
        assert code == 0
        assert demo.is_gone()


@pytest.mark.kernel
def test_the_nodes_of_the_demo_push_to_its_collector() -> None:
    published: dict[str, set[int]] = defaultdict(set)
    with running(*with_history(days=0)) as demo:
        page = re.search(r"they push to (\S+)", demo.headline)
        assert page
        first = demo.releases(1)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (collected := collected_bytes(page[1])).keys() != NODES:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # The line of a release is written before the release is pushed.
        for known in itertools.chain([first], iter(lambda: demo.releases(1), None)):
            for node, lines in known.items():
                published[node].update(int(line["tunnel_receive_bytes"]) for line in lines)
            if all(total in published[node] for node, total in collected.items()):
                break


@pytest.mark.kernel
def test_the_releases_of_the_nodes_go_on_where_the_history_ends() -> None:
    with running(*with_history(days=3)) as demo:
        said = demo.said(r"with 3 days of history: (\S+) .* --history sqlite:(\S+)")
        with closing(sqlite3.connect(f"file:{said[2]}?mode=ro", uri=True)) as database:
            at = dict(database.execute(NEWEST))
            assert at.keys() == {member.name for member in FLEET}
            loaded_to = max(at.values())
            assert eventually(
                lambda: min(dict(database.execute(NEWEST)).values()) >= loaded_to + 600,
                PATIENCE_SECONDS / 2,
            )
            runs = database.execute("SELECT count(*) FROM run").fetchone()
            days = database.execute("SELECT count(*) FROM daily").fetchone()
        with urllib.request.urlopen(f"{said[1]}metrics", timeout=10) as answer:
            page = answer.read().decode()

    assert said[1] in demo.headline
    # The lab's nodes began anew, as after a reboot.
    assert runs == (len(FLEET) + len(NODES),)
    assert days[0] >= 3 * len(FLEET)
    assert all(f'node="{member.name}"' in page for member in FLEET)


NEWEST = (
    "SELECT node.name, max(release.at) FROM release"
    " JOIN node ON node.number = release.node GROUP BY node.name"
)


def collected_bytes(page: str) -> dict[str, int]:
    """Return what the collector shows of each node's tunnels, once it is more than nothing."""
    with urllib.request.urlopen(page, timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r'(?m)^trafficd_tunnel_receive_bytes_total{node="(\S+?)".*} (\d+)$', text)
    return {node: int(value) for node, value in found if int(value)}


@pytest.mark.kernel
@needs_root
def test_without_tun_the_demo_plays_recorded_events_and_says_what_is_missing() -> None:
    with running(*with_dev_net(NO_TUN)) as demo:
        releases = demo.releases(1)
        demo.said("of history: http://")
        code = demo.stop()

        assert demo.headline.startswith(
            "trafficd demo: recorded link events, no packets: "
            "/dev/net/tun is missing: modprobe tun; they push to http://"
        )
        for node in NODES:
            assert_published_is_truth_rounded_down(releases[node])
        assert code == 0
        assert demo.is_gone()


def test_the_demo_ends_by_itself_after_its_seconds() -> None:
    with running(*COMMAND, "--seconds", "1") as demo:
        assert demo.process.wait(PATIENCE_SECONDS) == 0
        assert demo.is_gone()


def test_a_demo_that_still_loads_its_history_ends_when_it_is_asked_to() -> None:
    with running(*COMMAND) as demo:
        demo.said("loading 730 days of history")
        code = demo.stop()

        assert code == 0
        assert demo.is_gone()


def test_nothing_outlives_a_demo_that_is_killed() -> None:
    with running() as demo:
        demo.process.kill()

        assert eventually(demo.is_gone)


# Behind them come the collector and the rest of the fleet.
@pytest.mark.parametrize("half", [-4, -3])
def test_a_half_that_dies_ends_the_demo_with_one_line(half: int) -> None:
    with running() as demo:
        os.kill(demo.children[half], signal.SIGKILL)
        code = demo.process.wait(PATIENCE_SECONDS)

        assert demo.process.stderr is not None
        assert re.fullmatch(
            r"trafficd: the (reader|recording|exporter) of nyc-1 ended\n",
            demo.process.stderr.read(),
        )
        assert code == 1
        assert demo.is_gone()


def test_without_the_collector_there_is_no_history_and_a_hint() -> None:
    program = (
        "import sys; sys.modules['numpy'] = None; from trafficd.cli import main;"
        " sys.exit(main(['demo', '--port', '0', '--seconds', '2']))"
    )

    with running(sys.executable, "-B", "-c", program) as demo:
        assert demo.process.stdout is not None
        said = demo.process.stdout.read()

    assert demo.headline.endswith("; for a collector: pip install 'trafficd[collector]'")
    assert "history" not in said


def test_a_terminal_gets_a_table() -> None:
    with on_terminal(*DEMO) as (process, terminal):
        # What a table with the traffic's first moments in it says.
        shown = read_until(terminal, rb"truth now, \d+ sessions")
        process.send_signal(signal.SIGINT)
        # The last table waits for somebody to read it.
        read_until(terminal, None)
        code = process.wait(PATIENCE_SECONDS)

    assert b"fra-1" in shown
    assert b"http://127.0.0.1:" in shown
    assert code == 0


def test_a_terminal_without_rich_gets_lines_and_a_hint() -> None:
    program = (
        "import sys; sys.modules['rich'] = None; from trafficd.cli import main;"
        " sys.exit(main(['demo', '--port', '0', '--seconds', '1']))"
    )

    with on_terminal(sys.executable, "-B", "-c", program) as (process, terminal):
        shown = read_until(terminal, None)
        code = process.wait(PATIENCE_SECONDS)

    assert b"for a live table: pip install 'trafficd[demo]'" in shown
    assert b"node=fra-1 metrics=http://127.0.0.1:" in shown
    assert code == 0


@contextlib.contextmanager
def on_terminal(*command: str) -> "Iterator[tuple[subprocess.Popen[bytes], int]]":
    screen, terminal = os.openpty()
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal)
    os.close(terminal)
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    with process:
        try:
            yield process, screen
        finally:
            process.kill()
            watchdog.cancel()
            watchdog.join()
            os.close(screen)


def read_until(terminal: int, pattern: bytes | None) -> bytes:
    """Return what is shown until *pattern* is, or until nobody can show anything any more."""
    shown = b""
    # EIO: the last process has closed it.
    with contextlib.suppress(OSError):
        while pattern is None or not re.search(pattern, shown):
            shown += os.read(terminal, 4096)
    return shown

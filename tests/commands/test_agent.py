"""trafficd agent: two processes, and each is started again when it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.sandbox import machine

if TYPE_CHECKING:
    from tests.conftest import Namespace

pytestmark = pytest.mark.kernel

CONFIG = """
window: 5m
links:
  - {name: "eth*", role: uplink, capacity: 1Gbit}
  - {name: "ppp*", class: l2tp}
"""


class Agent:
    """A running agent in a namespace of its own."""

    def __init__(
        self,
        namespace: Namespace,
        config: Path,
        *,
        ignores_children: bool = False,
        state: str = "none",
    ) -> None:
        self.namespace = namespace
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace.name, sys.executable, "-m", "trafficd", "agent",
             "--config", str(config), "--state", state],
            preexec_fn=_ignore_children if ignores_children else None,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said: list[str] = []

    def wait_for(self, pattern: str) -> None:
        """Read what it says until a line matches."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if re.search(pattern, line):
                return
        raise AssertionError(f"ended without saying {pattern}: {self.said}")

    def wait_for_all(self, *patterns: str) -> None:
        """Read until a line has matched each, in any order."""
        missing = set(patterns)
        while missing:
            self.wait_for("|".join(missing))
            missing = {each for each in missing if not re.search(each, self.said[-1])}

    def wait_until_ready(self) -> None:
        """Read until both halves have said that they are there."""
        self.wait_for_all("exporter: serving", "reader: counting")

    def half(self, name: str) -> int:
        """Return the process id of the reader or the exporter."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for child in children.read_text().split():
            if name in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
                return int(child)
        raise AssertionError(f"no {name}")

    def end(self, number: signal.Signals) -> tuple[int, list[str]]:
        """Send a signal; return the exit code and all that it said."""
        self.process.send_signal(number)
        return self.finished()

    def finished(self) -> tuple[int, list[str]]:
        """Return the exit code and all that it said."""
        assert self.process.stderr is not None
        late = threading.Timer(20, self.process.kill)
        late.start()
        # Not communicate(): it would pass by what the lines read so far have buffered.
        with self.process.stderr as rest:
            self.said.extend(rest.read().splitlines())
        code = self.process.wait()
        late.cancel()
        return code, self.said


def _ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


class Start(Protocol):
    def __call__(
        self, config: str, *, ignores_children: bool = False, state: str = "none"
    ) -> Agent: ...


@pytest.fixture
def start(namespace: Namespace, tmp_path: Path) -> Iterator[Start]:
    started: list[Agent] = []

    def start_agent(config: str, *, ignores_children: bool = False, state: str = "none") -> Agent:
        file = tmp_path / "agent.yml"
        file.write_text(machine.configuration() + config)
        started.append(Agent(namespace, file, ignores_children=ignores_children, state=state))
        return started[-1]

    yield start_agent
    for agent in started:
        if agent.process.poll() is None:
            agent.process.kill()
            agent.finished()


@pytest.fixture
def ram() -> Iterator[Path]:
    """A directory on a tmpfs."""
    with tempfile.TemporaryDirectory(prefix="trafficd-test-", dir="/dev/shm") as name:
        yield Path(name)


def wait_until_gone(process: int) -> None:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{process}").exists():
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            return
        assert time.monotonic() < deadline, f"process {process} did not end"
        time.sleep(0.01)


def test_it_serves_zeros_at_once_and_says_when_the_first_release_is_due(start: Start) -> None:
    before = time.time()

    agent = start(CONFIG)
    agent.wait_until_ready()
    page = agent.namespace.run("curl", "-sf", "http://127.0.0.1:9787/metrics")
    health = agent.namespace.run("curl", "-sf", "http://127.0.0.1:9787/healthz")
    code, said = agent.end(signal.SIGTERM)

    assert health == "OK\n"
    assert 'trafficd_class_receive_bytes_total{class="l2tp"} 0.0' in page
    assert "trafficd_uplink_capacity_bits_per_second 1e+09" in page
    (due,) = (line for line in said if "first release is due" in line)
    told = time.mktime(time.strptime(due[-20:], "%Y-%m-%d %H:%M UTC")) - time.timezone
    assert told % 300 == 0
    # A whole window after the start, on the grid; ten seconds are what a decision may be late.
    assert before + 290 <= told <= time.time() + 600
    assert code == 0
    assert sorted(said[-2:]) == ["exporter: stopped", "reader: stopped"]


def test_a_killed_exporter_is_started_again_and_the_reader_goes_on(start: Start) -> None:
    agent = start(CONFIG)
    agent.wait_until_ready()
    reader, exporter = agent.half("reader"), agent.half("exporter")

    os.kill(exporter, signal.SIGKILL)
    agent.wait_for("agent: the exporter ended; starting it again")
    agent.wait_for("exporter: serving")
    page = agent.namespace.run("curl", "-sf", "http://127.0.0.1:9787/metrics")
    halves = agent.half("reader"), agent.half("exporter")
    code, _ = agent.end(signal.SIGTERM)

    assert "trafficd_build_info" in page
    assert halves[0] == reader
    assert halves[1] != exporter
    assert code == 0


def test_a_killed_reader_is_started_again_and_the_exporter_with_it(start: Start) -> None:
    agent = start(CONFIG)
    agent.wait_until_ready()
    before = agent.half("reader"), agent.half("exporter")

    os.kill(before[0], signal.SIGKILL)
    agent.wait_for("agent: the reader ended; starting it again")
    agent.wait_for_all("reader: counting", "exporter: serving")
    page = agent.namespace.run("curl", "-sf", "http://127.0.0.1:9787/metrics")
    after = agent.half("reader"), agent.half("exporter")
    code, said = agent.end(signal.SIGTERM)

    assert "trafficd_build_info" in page
    # An exporter shows the page of one reader.
    assert not set(before) & set(after)
    assert "agent: the exporter ended; starting it again" in said
    # Nothing was to outlive it.
    assert (
        said.count("reader: no state of this boot to go on from; a new run of totals begins at 0")
        == 2
    )
    assert code == 0


def test_a_dead_half_is_seen_by_an_agent_that_was_started_deaf_to_its_children(
    start: Start,
) -> None:
    agent = start(CONFIG, ignores_children=True)
    agent.wait_until_ready()

    os.kill(agent.half("reader"), signal.SIGKILL)
    agent.wait_for("agent: the reader ended; starting it again")
    agent.wait_for_all("reader: counting", "exporter: serving")
    code, _ = agent.end(signal.SIGTERM)

    assert code == 0


def test_an_agent_that_is_started_again_goes_on_with_the_totals_of_the_one_before(
    start: Start, ram: Path
) -> None:
    first = start(CONFIG, state=str(ram / "trafficd"))
    first.wait_until_ready()
    _, said = first.end(signal.SIGTERM)
    second = start(CONFIG, state=str(ram / "trafficd"))
    second.wait_until_ready()
    _, later = second.end(signal.SIGTERM)

    assert [line for line in said if "run of totals" in line]
    assert "reader: going on with the totals of the reader before" in later
    # Nobody held the queue of events between the two.
    assert [line for line in later if "nobody held the event queue" in line]
    assert {each.name: each.stat().st_mode & 0o777 for each in (ram / "trafficd").iterdir()} == {
        "state": 0o600, "releases": 0o600,
    }  # fmt: skip
    assert (ram / "trafficd").stat().st_mode & 0o777 == 0o700


def test_a_state_on_a_disk_is_refused(start: Start, tmp_path: Path) -> None:
    if os.statvfs(tmp_path).f_fsid == os.statvfs("/dev/shm").f_fsid:
        pytest.skip("temporary files are in RAM here")

    code, said = start(CONFIG, state=str(tmp_path / "state")).finished()

    assert code == 1
    assert [line for line in said if "not on a tmpfs" in line]
    assert "agent: the reader cannot work like this; ending the other half" in said


def test_a_second_agent_does_not_take_the_state_of_the_first(
    start: Start, other_namespace: Namespace, ram: Path, tmp_path: Path
) -> None:
    first = start(CONFIG, state=str(ram))
    first.wait_until_ready()

    second = Agent(other_namespace, tmp_path / "agent.yml", state=str(ram))
    code, said = second.finished()

    assert code == 1
    assert [line for line in said if "another agent has it" in line], said
    assert first.end(signal.SIGTERM)[0] == 0


def test_a_killed_agent_takes_both_halves_along(start: Start) -> None:
    agent = start(CONFIG)
    agent.wait_until_ready()
    halves = [agent.half("reader"), agent.half("exporter")]

    agent.end(signal.SIGKILL)

    for half in halves:
        wait_until_gone(half)


def test_sighup_rereads_the_rules_and_refuses_a_bad_file(start: Start, tmp_path: Path) -> None:
    agent = start(CONFIG)
    agent.wait_until_ready()

    (tmp_path / "agent.yml").write_text("window: 5s")
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("configuration refused, the old rules stay")
    (tmp_path / "agent.yml").write_text(
        machine.configuration() + CONFIG.replace("window: 5m", "window: 10m")
    )
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("link rules reread")
    agent.wait_for("restart for them to take effect")
    code, _ = agent.end(signal.SIGINT)

    assert code == 0


def test_a_wrong_configuration_is_exit_78(start: Start) -> None:
    code, said = start("windows: 1h").finished()

    assert code == 78
    assert len(said) == 1


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            "metrics: {listen: ['0.0.0.0:9787', '127.0.0.1:9787']}",
            "trafficd: metrics: listen: 127.0.0.1:9787: Address already in use",
        ),
        (
            "metrics: {listen: ['192.0.2.1:9787']}",
            "trafficd: metrics: listen: 192.0.2.1:9787: Cannot assign requested address",
        ),
        ("metrics: {web_config: /none/web.yml}", "trafficd: /none/web.yml: cannot be read"),
        ("namespaces: [nowhere]", "trafficd: namespace nowhere: No such file or directory"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_exit_1(start: Start, config: str, told: str) -> None:
    code, said = start(config).finished()

    assert code == 1
    assert [line for line in said if line.startswith(told)], said
    assert not [line for line in said if "Traceback" in line]

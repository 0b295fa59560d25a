"""Two halves under one agent: started again, ended together, told of texts; by stand-ins.

A stand-in is a process in the place of `trafficd reader` that notes what happens to it in a file.
That the real ones are is tested in tests/commands/test_agent.py.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Python runs this before its program. The stand-in's arguments: its name and what it does.
SITE = """
import os, socket, sys, time

def note(*words):
    os.write(notes, (" ".join(map(str, words)) + "\\n").encode())

if "stand-in" in sys.orig_argv:
    name, act = sys.orig_argv[-2:]
    notes = os.open(f"{os.environ['NOTES']}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    names = os.environ["LISTEN_FDNAMES"].split(":")
    note("started", os.getpid(), ",".join(names), time.monotonic())
    if act.startswith("exit"):
        os._exit(int(act.split()[1]))
    if act.startswith("later"):
        time.sleep(0.5)
        os._exit(int(act.split()[1]))
    for number, each in enumerate(names):
        if each == "queue":
            queue = socket.socket(fileno=3 + number)
            queue.setblocking(False)
            try:
                note("found", queue.recv(100).decode())
            except BlockingIOError:
                pass
    agent = socket.socket(fileno=3 + names.index("agent"))
    while message := agent.recv(1 << 20):
        note("told", message.decode())
    note("alone")
    os._exit(0)
"""
AGENT = """
import socket, sys
from pathlib import Path
from trafficd.log import start_logging
from trafficd.service import halves
from trafficd.service.halves import Half, run_halves

start_logging()
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
config = Path(sys.argv[1])
halves._SETTLING_SECONDS = float(sys.argv[2])
ours.send(b"an event")
found = [
    Half(name, ["stand-in", name, act], [("queue", theirs)] if name == "reader" else [], config)
    for name, act in zip(("reader", "exporter"), sys.argv[3:])
]
sys.exit(run_halves(found))
"""
LIVE = "live"
LONGEST_SECONDS = 20.0


@dataclass
class Agent:
    """An agent of stand-ins, and what they noted."""

    process: "subprocess.Popen[str]"
    folder: Path

    def notes(self, half: str, about: str) -> list[list[str]]:
        """Return what *half* noted that begins with *about*, in words."""
        try:
            lines = (self.folder / half).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.split(maxsplit=3)[1:] for line in lines if line.startswith(about)]

    def wait_for(self, half: str, about: str, *, times: int = 1) -> list[list[str]]:
        """Return those notes once there are so many."""
        wait_until(lambda: len(self.notes(half, about)) >= times, f"{half} {about} {times}")
        return self.notes(half, about)

    def processes(self, half: str, *, times: int = 1) -> list[int]:
        """Return the processes of *half* one after the other, once there were so many."""
        return [int(words[0]) for words in self.wait_for(half, "started", times=times)]

    def finished(self) -> tuple[int, str]:
        """Return the exit code, and what it said, once it has ended."""
        _, said = self.process.communicate(timeout=LONGEST_SECONDS)
        return self.process.returncode, said

    def end(self) -> tuple[int, str]:
        """End it by SIGTERM."""
        self.process.terminate()
        return self.finished()


Start = Callable[..., Agent]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    environment = {**os.environ, "PYTHONPATH": str(site), "NOTES": str(tmp_path)}
    started: list[Agent] = []

    def start_agent(reader: str = LIVE, exporter: str = LIVE, *, settling: float = 10.0) -> Agent:
        process = subprocess.Popen(
            [sys.executable, "-c", AGENT, str(tmp_path / "agent.yml"),
             str(settling), reader, exporter],
            stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        started.append(Agent(process, tmp_path))
        return started[-1]

    yield start_agent
    for agent in started:
        if agent.process.poll() is None:
            agent.process.kill()
            agent.finished()


def wait_until(is_so: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def is_there(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("killed", "left"), [("reader", "exporter"), ("exporter", "reader")])
def test_a_killed_half_is_started_again_and_the_other_left_alone(
    start: Start, killed: str, left: str
) -> None:
    agent = start()
    (first,) = agent.processes(killed)
    other = agent.processes(left)

    os.kill(first, signal.SIGKILL)
    _, second = agent.processes(killed, times=2)
    os.kill(second, signal.SIGKILL)
    *_, third = agent.processes(killed, times=3)
    still = agent.processes(left)
    code, said = agent.end()

    assert still == other
    assert code == 0
    assert said.splitlines() == [f"agent: the {killed} ended; starting it again"] * 2
    assert not is_there(third)
    assert not is_there(other[0])


def test_a_half_is_handed_the_same_sockets_at_each_start_with_what_was_queued(
    start: Start,
) -> None:
    agent = start()
    (first,) = agent.processes("reader")
    found = agent.wait_for("reader", "found")

    os.kill(first, signal.SIGKILL)
    agent.processes("reader", times=2)
    names = [words[1] for words in agent.notes("reader", "started")]
    agent.end()

    assert found == [["an", "event"]]
    assert names == ["queue,agent"] * 2


@pytest.mark.parametrize("code", [1, 2, 75, 78])
def test_a_half_that_fails_at_its_first_start_ends_the_agent_with_its_code(
    start: Start, code: int
) -> None:
    agent = start(exporter=f"exit {code}")

    ended, said = agent.finished()
    # It may have been ended before it noted that it was there.
    others = [int(words[0]) for words in agent.notes("reader", "started")]

    assert ended == code
    assert said == "agent: the exporter cannot work like this; ending the other half\n"
    assert not any(is_there(each) for each in others)


@pytest.mark.parametrize("act", ["later 1", "later 78"])
def test_a_half_that_fails_after_it_has_settled_is_started_again(start: Start, act: str) -> None:
    agent = start(reader=act, settling=0.1)

    agent.processes("reader", times=3)
    code, said = agent.end()

    assert code == 0
    assert set(said.splitlines()) == {"agent: the reader ended; starting it again"}


def test_an_exporter_whose_reader_is_gone_is_started_again_with_longer_and_longer_pauses(
    start: Start,
) -> None:
    agent = start(exporter="exit 69")

    moments = [float(words[2]) for words in agent.wait_for("exporter", "started", times=4)]
    code, _ = agent.end()

    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert [pause >= least for pause, least in zip(pauses, (0.5, 1.0, 2.0), strict=True)] == (
        [True] * 3
    )
    assert code == 0


def test_a_half_that_is_to_be_started_again_keeps_no_signal_waiting(start: Start) -> None:
    agent = start(exporter="exit 69")
    agent.processes("exporter", times=4)

    began = time.monotonic()
    code, _ = agent.end()

    # The next start is 4 s away.
    assert time.monotonic() - began < 3.0
    assert code == 0


def test_a_text_reaches_both_halves(start: Start, tmp_path: Path) -> None:
    agent = start()
    for half in ("reader", "exporter"):
        agent.processes(half)

    (tmp_path / "agent.yml").write_text("window:10m")
    agent.process.send_signal(signal.SIGHUP)
    told = [agent.wait_for(half, "told") for half in ("reader", "exporter")]
    code, _ = agent.end()

    assert told == [[["twindow:10m"]], [["twindow:10m"]]]
    assert code == 0


def test_a_text_reaches_a_half_that_was_started_again_and_one_that_is_gone_misses_it(
    start: Start, tmp_path: Path
) -> None:
    agent = start(exporter="exit 69")
    (first,) = agent.processes("reader")
    os.kill(first, signal.SIGKILL)
    agent.processes("reader", times=2)

    (tmp_path / "agent.yml").write_text("window:10m")
    agent.process.send_signal(signal.SIGHUP)
    told = agent.wait_for("reader", "told")
    code, _ = agent.end()

    assert told == [["twindow:10m"]]
    assert code == 0


def test_a_killed_agent_leaves_its_halves_alone_which_they_notice(start: Start) -> None:
    agent = start()
    halves = [*agent.processes("reader"), *agent.processes("exporter")]

    agent.process.kill()
    agent.finished()

    for half in ("reader", "exporter"):
        agent.wait_for(half, "alone")
    for each in halves:
        wait_until(lambda each=each: not is_there(each), "it ends")  # type: ignore[misc]  # a default

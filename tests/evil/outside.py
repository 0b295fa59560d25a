"""Runs an agent with an evil half, and does outside what the half asks for."""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.evil.attempts import ALL_THAT_SURVIVE
from tests.evil.planted import Planted, some_facts_of
from tests.sandbox import machine
from trafficd.config import Layer

_INSIDE = Path(__file__).parent / "inside"
_READY = {"reader: counting", "exporter: serving"}
_LONGEST_SECONDS = 60.0
_HEARING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt."""

    learned: str = ""
    refused: str = ""
    not_offered: str = ""
    broken: str = ""


@dataclass(slots=True)
class EvilRun:
    """What an evil half said, its process, and how its agent ended."""

    half: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)
    is_done: bool = False
    said: list[str] = field(default_factory=list)
    status: int | None = None


def run_evil(
    place: Planted,
    half: str,
    *,
    is_control: bool = False,
    config: str = "agent.yml",
    attempts: str = ALL_THAT_SURVIVE,
) -> EvilRun:
    """Run an agent of which *half* is evil until it has tried everything, or has ended."""
    place.renew()
    environment = {
        **os.environ,
        "PYTHONPATH": str(_INSIDE),
        "EVIL_HALF": half,
        "EVIL_ATTEMPTS": attempts,
        "EVIL_ANSWERS": str(place.answers),
        "EVIL_CONTROL": "1" if is_control else "",
    }
    output = place.folder / "output"
    with place.input.open() as standard_input, output.open("wb") as standard_output:
        process = subprocess.Popen(
            ["ip", "netns", "exec", place.namespace.name, sys.executable, "-m", "trafficd",
             "agent", "--config", str(place.folder / config), "--state", str(place.state)],
            stdin=standard_input, stdout=standard_output, stderr=subprocess.PIPE, text=True,
            env=environment, cwd=place.folder / "open", preexec_fn=_allow_dumps,
        )  # fmt: skip
    late = threading.Timer(_LONGEST_SECONDS, process.kill)
    late.start()
    answers = os.open(place.answers, os.O_RDWR)
    try:
        return _Conversation(place, half, process, answers).hold()
    finally:
        os.close(answers)
        late.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()


def missing_layers() -> str:
    """Return which layers that hold the evil back cannot be installed here."""
    return ", ".join(each for each in machine.lacking() if each is not Layer.SWAP)


def is_root_of_a_user_namespace() -> bool:
    """Return whether we are root of no more than a user namespace (user_namespaces(7))."""
    return "4294967295" not in Path("/proc/self/uid_map").read_text()


def _allow_dumps() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


class _Conversation:
    """With one half, over the agent's standard error."""

    def __init__(
        self, place: Planted, half: str, process: "subprocess.Popen[str]", answers: int
    ) -> None:
        self._place = place
        self._half = half
        self._process = process
        self._answers = answers
        self._run = EvilRun()
        self._has_ended = False

    def hold(self) -> EvilRun:
        missing = set(_READY)
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for ended in lines:
                line = ended.rstrip()
                if line.startswith("EVIL "):
                    # Whoever was started in its place has another chance, and is not asked.
                    if not self._has_ended:
                        self._listen(json.loads(line.removeprefix("EVIL ")))
                else:
                    self._has_ended |= line == f"agent: the {self._half} ended; starting it again"
                    self._run.said.append(line)
                    was_missing = bool(missing)
                    missing -= {each for each in missing if each in line}
                    if was_missing and not missing:
                        self._answer({**self._place.facts(), **self._processes()})
                if (self._run.is_done or self._has_ended) and self._process.poll() is None:
                    self._process.send_signal(signal.SIGTERM)
        self._run.status = self._process.wait()
        return self._run

    def _listen(self, said: dict[str, Any]) -> None:
        if "process" in said:
            self._run.half = said["process"]
        elif "trying" in said:
            self._run.tried.append(said["trying"])
        elif "tried" in said:
            name = said.pop("tried")
            self._run.outcomes[name] = Outcome(**said)
        elif "question" in said:
            self._answer(self._find_out(said))
        elif "is_done" in said:
            self._run.is_done = True

    def _answer(self, answer: object) -> None:
        with suppress(BrokenPipeError):
            os.write(self._answers, f"{json.dumps(answer)}\n".encode())

    def _processes(self) -> dict[str, int]:
        agent = self._process.pid
        other = other_child(agent, self._run.half)
        return {**some_facts_of(agent, "parent"), **some_facts_of(other, "other")}

    def _find_out(self, asked: dict[str, Any]) -> object:
        text = asked.get("text", "")
        match asked["question"]:
            case "provoke":
                self._place.provoke()
            case "send a packet":
                self._place.send_a_packet()
            case "heard":
                return _hear(self._place, text.encode())
            case "send SIGABRT":
                os.kill(self._run.half, signal.SIGABRT)
            case "see page":
                return _see_page(self._place, text)
            case "see process":
                return self._see_process(text)
            case "see output":
                seen = (self._place.folder / "output").read_text()
                return text if text in seen else ""
            case "see link":
                return self._see_link(asked["ifindex"], text)
            case _:
                raise AssertionError(asked)
        return None

    def _see_process(self, text: str) -> str:
        half = self._run.half
        seen = "".join(
            Path(f"/proc/{half}/{each}").read_text(errors="replace") for each in ("comm", "cmdline")
        )
        return f"ps shows: {text}" if text in seen else ""

    def _see_link(self, ifindex: int, text: str) -> str:
        (name,) = (
            each["ifname"]
            for each in json.loads(self._place.namespace.ip("-j", "link"))
            if each["ifindex"] == ifindex
        )
        seen = self._place.namespace.ip("address", "show", "dev", name)
        seen += self._place.namespace.ip("link", "show", "dev", name)
        self._place.namespace.ip("link", "set", "dev", name, "alias", "")
        self._place.namespace.ip("address", "flush", "dev", name)
        return f"ip shows: {text}" if text in seen else ""


def _see_page(place: Planted, text: str) -> str:
    """Return whether *text* comes to stand on the page, unless its server ends before."""
    deadline = time.monotonic() + _HEARING_SECONDS
    while time.monotonic() < deadline:
        page = subprocess.run(
            ["ip", "netns", "exec", place.namespace.name, "curl", "-sf", "-m", "5",
             "http://127.0.0.1:9787/metrics"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        if page.returncode:
            return ""
        if text in page.stdout:
            return f"published: {text}"
    return ""


def other_child(agent: int, half: int) -> int:
    """Return the process of the half that is not *half*."""
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    (other,) = (int(child) for child in children if int(child) != half)
    return other


def _hear(place: Planted, text: bytes) -> str:
    """Return where *text* was heard."""
    deadline = time.monotonic() + _HEARING_SECONDS
    ears = {each.fileno(): (name, each) for name, each in place.ears.items()}
    while (left := deadline - time.monotonic()) > 0:
        for number in select.select(list(ears), [], [], left)[0]:
            name, ear = ears[number]
            if name == "tcp":
                connection, _ = ear.accept()
                with connection:
                    connection.settimeout(_HEARING_SECONDS)
                    data = connection.recv(4096)
            else:
                data = ear.recv(4096)
            if text in data:
                return f"heard by the listener: {name}"
    return ""

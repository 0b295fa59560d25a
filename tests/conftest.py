"""Fixtures: a network namespace with a real kernel in it, a clock that a test moves."""

import contextlib
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from trafficd.clock import Moment


@dataclass(frozen=True)
class Namespace:
    """A network namespace that a test made, and may fill and break as it likes."""

    name: str

    def ip(self, *arguments: str) -> str:
        """Run `ip` inside and return what it printed."""
        return run("ip", "-n", self.name, *arguments)

    def run(self, *command: str) -> str:
        """Run a command inside and return what it printed."""
        return run("ip", "netns", "exec", self.name, *command)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, utc_seconds: float = 1_700_000_000.0) -> None:
        self.moment = Moment(utc_seconds, 1000.0)

    def now(self) -> Moment:
        return self.moment

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.moment = Moment(
            self.moment.utc_seconds + seconds, self.moment.elapsed_seconds + seconds
        )

    def step(self, seconds: float) -> None:
        """Set the wall clock, as an operator or NTP does; no time passes."""
        self.moment = Moment(self.moment.utc_seconds + seconds, self.moment.elapsed_seconds)

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network namespace of this test's own, with lo up."""
    with make_namespace() as made:
        yield made


@contextlib.contextmanager
def make_namespace() -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    made = Namespace(f"trafficd-{uuid.uuid4().hex[:8]}")
    run("ip", "netns", "add", made.name)
    try:
        made.ip("link", "set", "lo", "up")
        yield made
    finally:
        run("ip", "netns", "del", made.name)

"""Fixtures: a network namespace with a real kernel in it, a clock that a test moves."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import settings

from tests.lab import namespaces_are_missing
from trafficd.clock import Moment

# Neither a slow machine nor an earlier run decides what a property test finds.
settings.register_profile("trafficd", deadline=None, database=None, print_blob=True)
settings.load_profile("trafficd")

_missing = pytest.StashKey[str]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Become root of a user namespace where kernel tests need it, before any test runs."""
    needed = any(item.get_closest_marker("kernel") for item in session.items)
    session.config.stash[_missing] = namespaces_are_missing() if needed else ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a kernel test where no network namespace can be made."""
    reason = item.config.stash[_missing]
    if reason and item.get_closest_marker("kernel"):
        pytest.skip(reason)


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

    speed = 1.0

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


@pytest.fixture
def other_namespace() -> Iterator[Namespace]:
    """A second namespace, for links that move."""
    with make_namespace() as made:
        yield made


@contextlib.contextmanager
def make_namespace() -> Iterator[Namespace]:
    made = Namespace(f"trafficd-{uuid.uuid4().hex[:8]}")
    run("ip", "netns", "add", made.name)
    try:
        made.ip("link", "set", "lo", "up")
        yield made
    finally:
        run("ip", "netns", "del", made.name)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")

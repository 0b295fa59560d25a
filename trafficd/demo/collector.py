"""The demo's collector: the real one on a fast clock; its history is gone with the demo."""

import asyncio
import contextlib
import importlib.util
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trafficd.clock import Clock
from trafficd.demo.fleet import Member, Span
from trafficd.demo.loading import Loading, load
from trafficd.demo.processes import Family
from trafficd.service.notify import ServiceManager
from trafficd.units import ListenAddress

# The extra of that name: who has a part of it only is told to install it.
_WHAT_IT_NEEDS = ("cramjam", "google.protobuf", "jinja2", "numpy", "plotly")
_PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the collector listens, and the directory with its database and the nodes' tokens."""

    host: str
    port: int
    folder: Path

    @property
    def address(self) -> str:
        """The fleet for Prometheus."""
        return f"{self.page}metrics"

    @property
    def page(self) -> str:
        """The planning page."""
        return f"http://{self.host}:{self.port}/"

    @property
    def write_path(self) -> str:
        """Where nodes push to, in the address."""
        return "/api/v1/write"

    @property
    def write_url(self) -> str:
        """Where nodes push to."""
        return f"http://{self.host}:{self.port}{self.write_path}"

    @property
    def database(self) -> Path:
        """Its history."""
        return self.folder / "collector.db"

    def answers(self) -> bool:
        """Return whether the collector is there."""
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), _PATIENCE_SECONDS).close()
            return True
        return False

    def token_file(self, node: str) -> Path:
        """Return the file with the token of *node*."""
        return self.folder / f"{node}.token"


def missing() -> list[str]:
    """Return what a collector needs and this environment has not."""
    return [each for each in _WHAT_IT_NEEDS if importlib.util.find_spec(each.split(".")[0]) is None]


@contextlib.contextmanager
def collector_place(host: str, port: int) -> Iterator[Place]:
    """Return a place that is gone when it is left."""
    with tempfile.TemporaryDirectory(prefix="trafficd-demo-") as folder:
        yield Place(host, port, Path(folder))


def let_write(place: Place, members: Sequence[Member]) -> None:
    """Let *members* write, each with a token of its own."""
    from trafficd.collector.credentials import hash_of, new_token
    from trafficd.collector.store import Store

    with contextlib.closing(Store(place.database)) as store:
        for member in members:
            token = new_token()
            store.add_node(member.name, member.location, hash_of(token))
            place.token_file(member.name).write_text(token)


def start_collector(family: Family, place: Place, clock: Clock) -> None:
    """Start the collector."""
    family.start("collector", partial(_collect, place, clock), keep=())


def start_collector_with_history(
    family: Family, place: Place, clock: Clock, members: Sequence[Member], span: Span
) -> Loading:
    """Start the collector, which takes releases once it has the history of *members*."""
    loading = Loading()
    teller = loading.teller
    work = partial(_load_and_collect, place, clock, members, span, teller)
    family.start("collector", work, keep=[teller.fileno()])
    teller.close()
    return loading


def _load_and_collect(
    place: Place, clock: Clock, members: Sequence[Member], span: Span, teller: socket.socket
) -> None:
    if load(place.database, members, span, teller):
        _collect(place, clock)


def _collect(place: Place, clock: Clock) -> None:
    from trafficd.collector.app import run_collector
    from trafficd.collector.config import CollectorSettings

    settings = CollectorSettings(
        listen=(ListenAddress(f"{place.host}:{place.port}"),),
        database=str(place.database),
    )
    asyncio.run(run_collector(settings, ServiceManager({}), clock))

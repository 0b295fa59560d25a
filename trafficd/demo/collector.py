"""The demo's collector: the real one on a fast clock; its history is gone with the demo."""

import asyncio
import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trafficd.clock import Clock
from trafficd.demo.processes import Family
from trafficd.service.notify import ServiceManager
from trafficd.units import ListenAddress

_WHAT_IT_NEEDS = ("cramjam", "google.protobuf")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the collector listens, and the directory with its database and the nodes' tokens."""

    host: str
    port: int
    folder: Path

    @property
    def address(self) -> str:
        """Its page."""
        return f"http://{self.host}:{self.port}/metrics"

    @property
    def write_url(self) -> str:
        """Where nodes push to."""
        return f"http://{self.host}:{self.port}/api/v1/write"

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


def start_collector(family: Family, place: Place, nodes: Sequence[str], clock: Clock) -> None:
    """Let *nodes* write, each with a token of its own, and start the collector."""
    from trafficd.collector.credentials import hash_of, new_token
    from trafficd.collector.store import Store

    with contextlib.closing(Store(place.folder / "collector.db")) as store:
        for node in nodes:
            token = new_token()
            # A word before the hyphen is where it stands, as in the nodes' own configuration.
            store.add_node(node, node.partition("-")[0], hash_of(token))
            place.token_file(node).write_text(token)
    family.start("collector", partial(_collect, place, clock), keep=())


def _collect(place: Place, clock: Clock) -> None:
    from trafficd.collector.app import run_collector
    from trafficd.collector.config import CollectorSettings

    settings = CollectorSettings(
        listen=(ListenAddress(f"{place.host}:{place.port}"),),
        database=str(place.folder / "collector.db"),
    )
    asyncio.run(run_collector(settings, ServiceManager({}), clock))

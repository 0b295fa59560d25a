"""A whole collector behind HTTP, and messages of both versions with whatever may stand in them."""

import http.client
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cramjam

from tests.wire.specification import Request, WriteRequest
from trafficd.collector.credentials import hash_of
from trafficd.collector.store import Store

V1, V2 = "v1", "v2"
TYPES = {
    V1: "application/x-protobuf",
    V2: "application/x-protobuf;proto=io.prometheus.write.v2.Request",
}
VERSIONS = {V1: "0.1.0", V2: "2.0.0"}
WRITTEN = "X-Prometheus-Remote-Write-{}-Written"
COUNTED = ("Samples", "Histograms", "Exemplars")
# The last grid point but one, by the clock that the collector has too; and the one before.
AT = int(time.time()) // 300 * 300 - 300
BEFORE = AT - 300
LOCATION = "frankfurt"
UPLINK, CLASS = "trafficd_uplink_receive_bytes_total", "trafficd_class_receive_bytes_total"
SEQUEL = {"trafficd_tunnel_transmit_bytes_total": 7.0}
# More than there are cases.
NODES = 500

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Said:
    """One series of a message, with whatever version 2.0 lets one say of it."""

    labels: Labels
    samples: Sequence[tuple[int, float]] = ((AT * 1000, 1.0),)
    exemplars: Sequence[Labels] = ()
    histograms: int = 0
    # Type, help, unit.
    metadata: tuple[int, str, str] | None = None
    started: int = 0


def of(
    node: str, name: str = UPLINK, value: float = 1.0, at: int = AT, *, word: str | None = None
) -> Said:
    """Return a series of *node* with one sample, labels in order; *word* is its class."""
    labels = {"__name__": name, "location": LOCATION, "node": node}
    if word is not None:
        labels["class"] = word
    return Said(tuple(sorted(labels.items())), ((at * 1000, value),))


def first_version(said: Sequence[Said]) -> bytes:
    """Return a prometheus.WriteRequest."""
    request = WriteRequest()
    for each in said:
        series = request.timeseries.add()
        for name, value in each.labels:
            series.labels.add(name=name, value=value)
        _add_data(series, each)
        for labels in each.exemplars:
            exemplar = series.exemplars.add(value=1.0, timestamp=AT * 1000)
            for name, value in labels:
                exemplar.labels.add(name=name, value=value)
        if each.metadata is not None:
            kind, text, unit = each.metadata
            name = dict(each.labels).get("__name__", "")
            request.metadata.add(type=kind, metric_family_name=name, help=text, unit=unit)
    return bytes(request.SerializeToString())


def second_version(said: Sequence[Said]) -> bytes:
    """Return an io.prometheus.write.v2.Request."""
    symbols: dict[str, int] = {"": 0}

    def symbol(text: str) -> int:
        return symbols.setdefault(text, len(symbols))

    request = Request()
    for each in said:
        series = request.timeseries.add(created_timestamp=each.started)
        series.labels_refs.extend(symbol(word) for pair in each.labels for word in pair)
        _add_data(series, each)
        for sample in series.samples:
            sample.start_timestamp = each.started
        for labels in each.exemplars:
            references = [symbol(word) for pair in labels for word in pair]
            series.exemplars.add(value=1.0, timestamp=AT * 1000, labels_refs=references)
        if each.metadata is not None:
            kind, text, unit = each.metadata
            series.metadata.type = kind
            series.metadata.help_ref, series.metadata.unit_ref = symbol(text), symbol(unit)
    request.symbols.extend(symbols)
    return bytes(request.SerializeToString())


def _add_data(series: Any, said: Said) -> None:
    for at, value in said.samples:
        series.samples.add(timestamp=at, value=value)
    for number in range(said.histograms):
        series.histograms.add(count_int=number, sum=1.0, schema=1, timestamp=AT * 1000)


MESSAGES: Mapping[str, Callable[[Sequence[Said]], bytes]] = {V1: first_version, V2: second_version}


@dataclass
class Answered:
    """An answer, its counts as version 2.0 has them, and its body."""

    status: int
    counts: tuple[str | None, ...]
    body: str


@dataclass
class Receiver:
    """A running collector and a look into its file."""

    port: int
    store: Store
    _unused: Iterator[int] = field(default_factory=itertools.count)

    def node(self) -> str:
        """Return a node that has said nothing yet."""
        return f"node-{next(self._unused)}"

    def push(self, node: str, version: str, body: bytes, **changed: str | None) -> Answered:
        """Push *body* with the headers of *version*, but for *changed*; None leaves one out."""
        headers = {
            "Content_Type": TYPES[version],
            "Content_Encoding": "snappy",
            "X_Prometheus_Remote_Write_Version": VERSIONS[version],
            "User_Agent": "Prometheus/3.0.0",
            "Authorization": f"Bearer token-of-{node}",
            **changed,
        }
        said = {name.replace("_", "-"): text for name, text in headers.items() if text is not None}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as line:
            line.request("POST", "/api/v1/write", body, said)
            answer = line.getresponse()
            counts = tuple(answer.getheader(WRITTEN.format(each)) for each in COUNTED)
            return Answered(answer.status, counts, answer.read().decode())

    def say(self, node: str, version: str, *said: Said) -> Answered:
        """Push a message as a correct sender packs it."""
        return self.push(node, version, packed(MESSAGES[version](said)))

    def stored(self, node: str) -> dict[int, dict[str, float]]:
        """Return all that the file has of *node*, by time and series."""
        (number,) = (each.node.number for each in self.store.nodes() if each.node.name == node)
        return {
            each.at: dict(zip(map(str, each.series), each.values, strict=True))
            for each in self.store.history(number, 0, 1 << 40)
        }

    def has_taken(
        self,
        node: str,
        version: str,
        answer: Answered,
        stored: Mapping[int, Mapping[str, float]],
    ) -> None:
        """Assert that *stored* is what *node* has said, and that more is taken from it."""
        samples = sum(map(len, stored.values()))
        assert (answer.status, answer.body) == (204, "")
        assert answer.counts == counts(version, samples)
        assert self.stored(node) == stored
        self._takes_more(node, version)

    def has_refused(self, node: str, version: str, answer: Answered, reason: str) -> None:
        """Assert that nothing is stored, that *node* was told why, and that more is taken."""
        assert answer.status == 400
        assert reason in answer.body
        assert answer.body.count("\n") == 1
        assert answer.counts == counts(version, 0)
        assert self.stored(node) == {}
        self._takes_more(node, version)

    def _takes_more(self, node: str, version: str) -> None:
        at, before = AT - 86_400, self.stored(node)
        sequel = [of(node, name, value, at) for name, value in SEQUEL.items()]

        answer = self.say(node, version, *sequel)

        assert (answer.status, answer.counts) == (204, counts(version, len(SEQUEL)))
        assert self.stored(node) == {at: SEQUEL, **before}


def packed(message: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message))


def counts(version: str, samples: int) -> tuple[str | None, ...]:
    """Return the Written headers that *version* has of every answer."""
    return (str(samples), "0", "0") if version == V2 else (None, None, None)


@contextmanager
def receiving(directory: Path) -> Iterator[Receiver]:
    """Start the collector as its command does, on a file with nodes that have said nothing."""
    database, config = directory / "collector.db", directory / "collector.yml"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config.write_text(f'listen: ["127.0.0.1:{port}"]\ndatabase: {database}\n')
    with closing(Store(database)) as store:
        _add_nodes(store)
        with subprocess.Popen(
            [sys.executable, "-m", "trafficd", "collector", "--config", config],
            stderr=subprocess.PIPE, text=True,
        ) as collector:  # fmt: skip
            assert collector.stderr is not None
            try:
                assert "taking releases" in collector.stderr.readline()
                yield Receiver(port, store)
            finally:
                collector.terminate()
            assert collector.stderr.read() == "collector: stopped\n"
        assert collector.returncode == 0


def _add_nodes(store: Store) -> None:
    for number in range(NODES):
        name = f"node-{number}"
        store.add_node(name, LOCATION, hash_of(f"token-of-{name}"))

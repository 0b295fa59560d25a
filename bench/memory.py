"""Resident memory of the processes that `trafficd agent` starts, at 10,000 links."""

import time
from collections.abc import Sequence
from statistics import median

from bench.agent import (
    NODE_EXPORTER_PORT,
    Memory,
    fetch,
    memory,
    running_agent,
    running_node_exporter,
)
from bench.laboratory import LINKS, Laboratory
from bench.table import Row
from trafficd.reader.app import SAMPLE_SECONDS

# MB are 10**6 bytes, which is the stricter reading.
_MB = 10**6
MOST_READER_BYTES = 42 * _MB
MOST_EXPORTER_BYTES = 48 * _MB

_RUNS = 3
# Past the first sample: what it needs stays with the process.
_SETTLED_SECONDS = SAMPLE_SECONDS + 1.0
_PEER_SCRAPES = 3


def measure(laboratory: Laboratory) -> list[Row]:
    """Return a row for each half, beside node_exporter."""
    namespace = laboratory.many_links()
    readers, exporters = [], []
    for _ in range(_RUNS):
        with running_agent(laboratory, namespace) as agent:
            time.sleep(_SETTLED_SECONDS)
            readers.append(memory(agent.reader))
            exporters.append(memory(agent.exporter))
    peer = _peer(namespace)
    return [
        _row("reader", readers, MOST_READER_BYTES, peer),
        _row("exporter", exporters, MOST_EXPORTER_BYTES, peer),
    ]


def _row(half: str, found: Sequence[Memory], most_bytes: int, peer: str) -> Row:
    resident = median(each.resident_bytes for each in found)
    proportional = median(each.proportional_bytes for each in found)
    return Row.held(
        f"memory of the {half} at {LINKS:,} links",
        f"{resident / _MB:.1f} MB resident, Pss {proportional / _MB:.1f}",
        f"<= {most_bytes // _MB} MB resident",
        is_held=resident <= most_bytes,
        beside=peer,
    )


def _peer(namespace: str) -> str:
    with running_node_exporter(namespace) as peer:
        if peer is None:
            return "no node_exporter here"
        for _ in range(_PEER_SCRAPES):
            fetch(namespace, NODE_EXPORTER_PORT)
        return f"node_exporter {memory(peer).resident_bytes / _MB:.1f} MB"

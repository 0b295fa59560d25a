"""Bodies that nobody sends, and what of any body may be stored at all.

`python -m tests.collector.fuzzing COUNT [SEED]` has ingest read so many of them: bytes changed at
random, and messages that are right but for one thing.
"""

import argparse
import math
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tests.test_series import RELEASE
from tests.wire.specification import (
    Request,
    Sent,
    WriteRequest,
    first_version,
    said,
    second_version,
)
from trafficd.collector.ingest import Ingest
from trafficd.collector.slices import Node, Slice
from trafficd.errors import MessageRefusedError
from trafficd.series import series_of
from trafficd.wire.remote_write import Layout, Protocol

NODE = Node(1, "fra-17", "frankfurt")
AT = 1_795_484_400
NOW = AT + 20.0
# Section 6 of the design, as somebody would copy it who never saw schema.py.
_BYTES = r"trafficd_(uplink|tunnel)_(receive|transmit)_bytes_total"
_CLASS = r'trafficd_class_(receive|transmit)_bytes_total\{class="[a-z][a-z0-9_-]{0,31}"\}'
_LE = r"(0\.(05|1|15|2|25|3|35|4|45|[5-9]|[5-9][02468])|1\.0|\+Inf)"
_WAY = r'direction="(receive|transmit)"'
_HISTOGRAM = rf'trafficd_uplink_utilisation_ratio(_bucket\{{{_WAY},le="{_LE}"|_count\{{{_WAY})\}}'
_GAUGE = r"trafficd_(uplink_capacity_bits_per_second|(release|start)_timestamp_seconds)"
_FAULT = r'trafficd_reader_faults_total\{fault="(overrun|malformed|gap)"\}'
_BUILD = r'trafficd_build_info\{version="\d+(\.\d+){1,2}((a|b|rc|\.dev|\.post)\d+)?"\}'
_PUSHED = r"(sent_releases|failed_tries|dropped_releases)_total|pending_releases"
_PUSH = (
    rf"trafficd_push_({_PUSHED}|last_success_timestamp_seconds)"
    r'\{destination="[a-z][a-z0-9_-]{0,31}"\}'
)
ALLOWED = re.compile(
    "|".join([_BYTES, _CLASS, _HISTOGRAM, _GAUGE, _FAULT, _BUILD, _PUSH]), re.ASCII
)

_WORDS = (
    *("", "ppp", "wireguard", "fra-17", "fra-18", "frankfurt", "192.0.2.7", "2001:db8::7"),
    *("anna@example.org", "a" * 33, "a" * 5000, "PPP", "ppp\n", "ppp\0", "p\u0440p", "\U0001f511"),
    *("trafficd_uplink_receive_bytes_total", "trafficd_class_receive_bytes_total", "up"),
    *("le", "1", "0.5", "nan", "+Inf", "1e400", "-0.05", "__name__", "class", "node", "location"),
)
_NUMBERS = (
    *(0.0, -0.0, 1.0, -1.0, 1.5, 2.0**53 + 2, 1e308, 5e-324, math.inf, -math.inf, math.nan),
    *(-1e-300, 2.0**80, float(1 << 20)),
)
_TIMES = (
    *(0, 1, -1, AT * 1000, AT * 1000 + 1, (AT + 300) * 1000, (AT + 900) * 1000, AT, -AT * 1000),
    *(2**63 - 1, -(2**63), 300_000, 2**53, (AT - 300) * 1000),
)
# Of those, and beside them, what takes as many bytes as a time of today.
_OWN_TIMES = (
    *(AT * 1000, AT * 1000, AT * 1000 + 1, (AT + 300) * 1000, (AT + 900) * 1000, 1 << 35),
    *((AT - 300) * 1000, (AT + 600) * 1000, (1 << 42) - 1, (1 << 42) - (1 << 42) % 300_000),
)


def bodies(seed: int) -> Iterator[tuple[Protocol, bytes]]:
    """Yield messages without end, nearly all of them wrong, always the same of a *seed*."""
    chance = random.Random(seed)
    ours = [series for series, _ in series_of(RELEASE)]
    few = [*ours[:9], *ours[-5:], *ours[9:80:23]]
    values = [float(number << 20) for number in range(len(few))]
    layouts = {each: Layout(NODE.name, NODE.location, few, each) for each in Protocol}
    sent: list[Sent] = [
        (
            {
                "__name__": each.name,
                **dict(each.labels),
                "location": NODE.location,
                "node": NODE.name,
            },
            [(AT * 1000, value)],
        )
        for each, value in zip(few, values, strict=True)
    ]
    while True:
        protocol = chance.choice(list(Protocol))
        if chance.random() < 0.4:
            yield protocol, _noise(chance, layouts[protocol].pack(AT, values))
        elif chance.random() < 0.2:
            # What ingest takes without reading all of it: all messages of a node but the first.
            wrong = [*values]
            wrong[chance.randrange(len(wrong))] = chance.choice(_NUMBERS)
            time = chance.choice(_OWN_TIMES)
            body = layouts[protocol].pack(AT, wrong)
            yield protocol, body.replace(_varint(AT * 1000), _varint(time), chance.choice((1, -1)))
        else:
            yield protocol, _one_thing_wrong(chance, sent, protocol)


def _noise(chance: random.Random, right: bytes) -> bytes:
    """Return bytes that have little or nothing to do with a message."""
    body = bytearray(right)
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.randrange(200))
        case 1:
            for _ in range(chance.randrange(1, 6)):
                body[chance.randrange(len(body))] = chance.randrange(256)
        case 2:
            del body[chance.randrange(len(body)) :]
        case 3:
            start = chance.randrange(len(body))
            del body[start : start + chance.randrange(1, 40)]
        case 4:
            start = chance.randrange(len(body))
            piece = body[start : start + chance.randrange(1, 200)]
            at = chance.randrange(len(body))
            body[at:at] = piece * chance.randrange(1, 4)
        case _:
            at = chance.randrange(len(body))
            body[at:at] = chance.randbytes(chance.randrange(1, 12))
    return bytes(body)


def _one_thing_wrong(chance: random.Random, sent: Sequence[Sent], protocol: Protocol) -> bytes:
    theirs = [(dict(labels), list(samples)) for labels, samples in sent]
    labels, samples = theirs[chance.randrange(len(theirs))]
    match chance.randrange(9):
        case 0:
            labels[chance.choice(list(labels))] = chance.choice(_WORDS)
        case 1:
            labels[chance.choice(_WORDS)] = chance.choice(_WORDS)
        case 2:
            del labels[chance.choice(list(labels))]
        case 3:
            samples[0] = (samples[0][0], chance.choice(_NUMBERS))
        case 4:
            samples[0] = (chance.choice(_TIMES), samples[0][1])
        case 5:
            samples.append((chance.choice(_TIMES), chance.choice(_NUMBERS)))
        case 6:
            theirs.append((dict(labels), [(samples[0][0], chance.choice(_NUMBERS))]))
        case 7:
            samples.clear()
        case _:
            # Nothing: what is right has to get in between.
            chance.shuffle(theirs)
    if protocol is Protocol.V1:
        return _with_more(chance, first_version(theirs), WriteRequest)
    return _with_more(chance, second_version(theirs), Request)


def _with_more(chance: random.Random, body: bytes, kind: Callable[[], object]) -> bytes:
    """Return *body*, now and then with what the specification has besides samples."""
    if chance.random() < 0.9:
        return body
    message = kind.FromString(body)  # type: ignore[attr-defined]
    series = chance.choice(message.timeseries)
    match chance.randrange(5):
        case 0:
            series.exemplars.add(value=1.0)
        case 1:
            series.histograms.add(count_int=3)
        case 2 if hasattr(series, "labels_refs"):
            series.labels_refs.append(chance.randrange(100))
        case 3 if hasattr(series, "labels_refs"):
            message.symbols[0] = "x"
        case 4 if series_refs := getattr(series, "labels_refs", None):
            # A symbol that stands in the table twice is a right one.
            place = chance.randrange(len(series_refs))
            message.symbols.append(message.symbols[series_refs[place]])
            series_refs[place] = len(message.symbols) - 1
        case 4 if getattr(series, "labels", None):
            series.labels.append(chance.choice(series.labels))
        case _:
            pass
    return bytes(message.SerializeToString())


def _varint(value: int) -> bytes:
    """Return *value* as protobuf writes it (Encoding, Base 128 Varints)."""
    groups = [value >> shift & 0x7F for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([*(each | 0x80 for each in groups[:-1]), groups[-1]])


def refuse_what_section_6_has_not(found: Sequence[Slice], now: float = NOW) -> None:
    """Raise AssertionError if any of *found* may not be stored."""
    assert len({each.at for each in found}) == len(found)
    for each in found:
        assert each.at % 300 == 0
        assert 0 < each.at <= now + 600
        assert len(set(each.series)) == len(each.series) == len(each.values)
        for series, value in zip(each.series, each.values, strict=True):
            assert ALLOWED.fullmatch(str(series)), series
            assert 0 <= value < math.inf


Facts = set[tuple[int, str, frozenset[tuple[str, str | float]], float]]


def facts_of(found: Iterable[Slice]) -> Facts:
    """Return what ingest found: times, series without their node, and values."""
    return {
        (each.at * 1000, *_series(series.name, series.labels), value)
        for each in found
        for series, value in zip(each.series, each.values, strict=True)
    }


def facts_said(message: bytes, protocol: Protocol, node: Node = NODE) -> Facts:
    """Return what *message*, which is right, says of *node*: by the specification."""
    facts: Facts = set()
    for labels, samples in said(message, is_second=protocol is Protocol.V2):
        own = {each: labels[each] for each in labels.keys() - {"__name__", "node", "location"}}
        assert (labels["node"], labels["location"]) == (node.name, node.location)
        facts |= {
            (time, *_series(labels["__name__"], own.items()), value) for time, value in samples
        }
    return facts


def _series(
    name: str, labels: Iterable[tuple[str, str]]
) -> tuple[str, frozenset[tuple[str, str | float]]]:
    # 1 and 1.0 are the same bound.
    return name, frozenset((each, float(v) if each == "le" else v) for each, v in labels)


def fuzz(count: int, seed: int) -> Counter[str]:
    """Have ingest read *count* bodies; return how it took them.

    Raises: whatever ingest raises but a refusal, and AssertionError.
    """
    ingest, taken = Ingest(), Counter[str]()
    made = bodies(seed)
    for _ in range(count):
        protocol, body = next(made)
        try:
            found = ingest.read(NODE, body, protocol, NOW)
        except MessageRefusedError as refusal:
            refuse_what_is_no_reason(str(refusal))
            taken[refusal.kind] += 1
            continue
        refuse_what_section_6_has_not(found)
        assert facts_of(found) == facts_said(body, protocol)
        taken["taken"] += 1
    return taken


def refuse_what_is_no_reason(reason: str) -> None:
    """Raise AssertionError if *reason* is not one line for a person."""
    assert reason.isprintable()
    # Two foreign words of 64 characters, written as escapes; an answer has the first 400.
    assert 0 < len(reason) < 1500


def resident_bytes() -> int:
    """Return what this process holds of memory (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    """Fuzz, and print how it went."""
    parser = argparse.ArgumentParser(description="Have ingest read bodies that nobody sends.")
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    arguments = parser.parse_args()
    warm = fuzz(arguments.count // 10, arguments.seed)
    before = resident_bytes()
    taken = warm + fuzz(arguments.count - arguments.count // 10, arguments.seed + 1)
    grown = resident_bytes() - before
    sys.stdout.write(f"{dict(sorted(taken.items()))}, grown by {grown >> 10} KiB\n")
    return int(grown > 8 << 20)


if __name__ == "__main__":
    sys.exit(main())

"""The next message as it leaves: the page of /metrics, read as text and held to the schema.

Source: the text format 0.0.4 of Prometheus,
https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from trafficd.audit.finding import Unread
from trafficd.schema import (
    BUILD_INFO,
    METRICS,
    PUSH_LAST_SUCCESS,
    PUSH_METRICS,
    READER_FAULTS,
    RELEASE_TIMESTAMP,
    ROUNDING_BYTES,
    START_TIMESTAMP,
    UPLINK_CAPACITY,
    UPLINK_UTILISATION,
    UTILISATION_BOUNDS,
    Direction,
    Fault,
    Kind,
    Metric,
)

_COMMENT = re.compile(r"# (HELP|TYPE) (\S+) (.*)")
_SAMPLE = re.compile(r"([a-z_]+)(?:\{([^{}]*)\})? (\S+)")
_LABEL = re.compile(r'([a-z_]+)="([^"\\]*)"')

_ALL = (*METRICS, *PUSH_METRICS)
_BY_NAME = {each.sample_name: each for each in _ALL}

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Message:
    """A page: its text, and every series with its value."""

    text: str
    series: dict[Series, Decimal]
    strange: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What of the settings decides about the page."""

    classes: tuple[str, ...]
    window: int
    capacity_bits_per_second: int
    version: str
    destinations: tuple[str, ...] = ()


def read_message(text: str) -> Message | Unread:
    """Return *text* as series; strange is a line that is no sample and no word of the schema."""
    words = {(kind, name): said for metric in _ALL for kind, name, said in _words(metric)}
    series: dict[Series, Decimal] = {}
    strange = []
    for line in text.splitlines():
        comment, sample = _COMMENT.fullmatch(line), _SAMPLE.fullmatch(line)
        if comment and words.get((comment[1], comment[2])) == comment[3]:
            continue
        read = _read_sample(sample) if sample else None
        if read is None or read[0] in series:
            strange.append(line)
            continue
        series[read[0]] = read[1]
    if not text.endswith("\n"):
        return Unread("it does not end with a line")
    return Message(text, series, tuple(strange))


def expected_series(expected: Expected) -> set[Series]:
    """Return every series that the page must hold, and nothing else."""
    values = {
        "class": expected.classes,
        "destination": expected.destinations,
        "fault": tuple(Fault),
        "version": (expected.version,),
        "direction": tuple(Direction),
        "le": UTILISATION_BOUNDS,
    }
    found: set[Series] = set()
    for metric in _ALL:
        name = f"{metric.name}_bucket" if metric is UPLINK_UTILISATION else metric.sample_name
        combined: list[tuple[tuple[str, str], ...]] = [()]
        for label in metric.labels:
            combined = [
                (*before, (label, str(value))) for before in combined for value in values[label]
            ]
        found |= {(name, tuple(sorted(each))) for each in combined}
    return found


def wrong_values(message: Message, expected: Expected) -> list[str]:
    """Return what is wrong with the values: not rounded, off the grid, or not as configured."""
    wrong = []
    for (name, labels), value in message.series.items():
        problem = _problem(name, value, expected)
        if problem:
            where = ",".join(each for _, each in labels)
            wrong.append(f"{name}{f' of {where}' if where else ''} {problem}")
    wrong += _not_growing(message)
    return wrong


def _words(metric: Metric) -> Iterator[tuple[str, str, str]]:
    yield "HELP", metric.sample_name, metric.help
    yield "TYPE", metric.sample_name, metric.kind


def _read_sample(sample: re.Match[str]) -> tuple[Series, Decimal] | None:
    labels = _LABEL.findall(sample[2] or "")
    written = ",".join(f'{name}="{value}"' for name, value in labels)
    if written != (sample[2] or ""):
        return None
    try:
        value = Decimal(sample[3])
    except InvalidOperation:
        return None
    return (sample[1], tuple(sorted(labels))), value


def _problem(name: str, value: Decimal, expected: Expected) -> str:
    metric = _BY_NAME.get(name)
    if not value.is_finite() or value < 0 or value != value.to_integral_value():
        return "is not a whole number"
    if metric is None:
        return ""  # a bucket: counts, and otherwise judged together
    if metric in (RELEASE_TIMESTAMP, START_TIMESTAMP, PUSH_LAST_SUCCESS):
        return "is not on the grid" if value % expected.window else ""
    if metric is UPLINK_CAPACITY:
        return "" if value == expected.capacity_bits_per_second else "is not the configuration's"
    if metric is BUILD_INFO:
        return "" if value == 1 else "is not 1"
    is_bytes = metric.kind is Kind.COUNTER and metric not in (READER_FAULTS, *PUSH_METRICS)
    return "is not rounded" if is_bytes and value % ROUNDING_BYTES else ""


def _not_growing(message: Message) -> Iterator[str]:
    name = f"{UPLINK_UTILISATION.name}_bucket"
    for direction in Direction:
        counts = [
            message.series.get((name, (("direction", direction), ("le", bound))), Decimal(0))
            for bound in UTILISATION_BOUNDS
        ]
        if counts != sorted(counts):
            yield f"{name} of {direction} does not grow with its bound"

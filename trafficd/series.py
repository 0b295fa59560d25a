"""The series of schema.py one by one, as a push names them: their names, their labels, their order.

Whose they are, the labels ``node`` and ``location``, is not part of a series here.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from trafficd import __version__, schema
from trafficd.errors import UnknownSeriesError
from trafficd.releases import Release
from trafficd.schema import Direction, Fault, Kind, Metric

# Short enough that nothing else fits in, and never an address.
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,2}((a|b|rc|\.dev|\.post)\d{1,4})?")
_BUCKET, _COUNT = "_bucket", "_count"


class Series(NamedTuple):
    """One series, by its sample's name and its own labels, sorted by name."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        shown = ",".join(f'{label}="{value}"' for label, value in self.labels)
        return f"{self.name}{{{shown}}}" if shown else self.name


def samples(metric: Metric, release: Release) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the label values and the value of each series of *metric*, but of the histogram."""
    match metric:
        case schema.UPLINK_RECEIVE:
            yield (), release.uplink.rx_bytes
        case schema.UPLINK_TRANSMIT:
            yield (), release.uplink.tx_bytes
        case schema.TUNNEL_RECEIVE:
            yield (), release.tunnel.rx_bytes
        case schema.TUNNEL_TRANSMIT:
            yield (), release.tunnel.tx_bytes
        case schema.CLASS_RECEIVE:
            yield from (((name,), totals.rx_bytes) for name, totals in release.classes)
        case schema.CLASS_TRANSMIT:
            yield from (((name,), totals.tx_bytes) for name, totals in release.classes)
        case schema.UPLINK_CAPACITY:
            yield (), release.capacity_bits_per_second
        case schema.RELEASE_TIMESTAMP:
            yield (), release.at
        case schema.START_TIMESTAMP:
            yield (), release.started_at
        case schema.READER_FAULTS:
            yield (Fault.OVERRUN,), release.faults.overruns
            yield (Fault.MALFORMED,), release.faults.malformed
            yield (Fault.GAP,), release.faults.gaps
        case schema.BUILD_INFO:
            yield (__version__,), 1
        case _:
            raise AssertionError(f"no value for {metric.name}")


def utilisation(release: Release) -> Iterator[tuple[Direction, list[tuple[str, int]]]]:
    """Yield the cumulative buckets of each direction, each by its bound ``le``."""
    slots = release.utilisation
    for direction, counts in (
        (Direction.RECEIVE, slots.receive),
        (Direction.TRANSMIT, slots.transmit),
    ):
        yield direction, list(zip(schema.UTILISATION_BOUNDS, accumulate(counts), strict=True))


def series_of(release: Release) -> list[tuple[Series, float]]:
    """Return every series of *release* with its value, in schema order."""
    found: list[tuple[Series, float]] = []
    for metric in schema.METRICS:
        if metric is schema.UPLINK_UTILISATION:
            found += _histogram(metric, release)
            continue
        found += (
            (Series(metric.sample_name, tuple(zip(metric.labels, values, strict=True))), value)
            for values, value in samples(metric, release)
        )
    return sorted(found, key=lambda each: place(each[0]))


def _histogram(metric: Metric, release: Release) -> Iterator[tuple[Series, float]]:
    for direction, buckets in utilisation(release):
        way = ("direction", str(direction))
        for bound, count in buckets:
            yield Series(f"{metric.name}{_BUCKET}", (way, ("le", bound))), count
        # What is not above the highest bound there is: all slots.
        yield Series(f"{metric.name}{_COUNT}", (way,)), buckets[-1][1]


def known_series(name: str, labels: Mapping[str, str]) -> Series:
    """Return the series of that name and these labels, written as we write it.

    Raises: UnknownSeriesError with a reason for a person if no release has such a series.
    """
    wanted = _LABELS.get(name)
    if wanted is None:
        raise UnknownSeriesError(f"{_shown(name)}: not a metric of trafficd")
    if labels.keys() != wanted.keys():
        strange = sorted(labels.keys() - wanted.keys())
        if strange:
            raise UnknownSeriesError(f"{name}: label {_shown(strange[0])}: not one of this metric")
        raise UnknownSeriesError(f"{name}: label {min(wanted.keys() - labels.keys())}: missing")
    values = []
    for label, read in wanted.items():
        value = read(labels[label])
        if value is None:
            raise UnknownSeriesError(
                f"{name}: label {label}: {_shown(labels[label])}: {_EXPECTED[label]}"
            )
        values.append((label, value))
    return Series(name, tuple(values))


def place(series: Series) -> tuple[int, tuple[str | int, ...]]:
    """Return where *series* stands in schema order; buckets stand by their bound."""
    values = tuple(
        _BOUND_PLACES[value] if label == "le" else value for label, value in series.labels
    )
    return _PLACES[series.name], values


def is_counter(series: Series) -> bool:
    """Return whether *series* only grows while a node runs, and begins at 0 with each run."""
    return series.name in _COUNTERS


def _shown(text: str) -> str:
    """Return foreign *text* as it may stand in an answer: short, and on one line."""
    return repr(text if len(text) <= 64 else f"{text[:61]}...")


def _bound(text: str) -> str | None:
    """Return a bound as we write it: 1, 1.0 and 1e0 are one, and so a bucket has one series."""
    try:
        return _BOUNDS_BY_VALUE.get(float(text)) if len(text) <= 16 else None
    except ValueError:
        return None


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    return lambda text: text if pattern.fullmatch(text) else None


def _one_of(words: type[Direction] | type[Fault]) -> Callable[[str], str | None]:
    known = frozenset(map(str, words))
    return lambda text: text if text in known else None


_BOUNDS_BY_VALUE = {
    math.inf if bound == "+Inf" else float(bound): bound for bound in schema.UTILISATION_BOUNDS
}
_BOUND_PLACES = {bound: number for number, bound in enumerate(schema.UTILISATION_BOUNDS)}

_WORD = "write a lower-case word: a letter, then letters, digits, - or _, to 32"
_READ: dict[str, Callable[[str], str | None]] = {
    "class": _matching(schema.WORD),
    "destination": _matching(schema.WORD),
    "direction": _one_of(Direction),
    "fault": _one_of(Fault),
    "le": _bound,
    "version": _matching(_VERSION),
}
_EXPECTED = {
    "class": _WORD,
    "destination": _WORD,
    "direction": f"one of {', '.join(Direction)}",
    "fault": f"one of {', '.join(Fault)}",
    "le": f"one of {', '.join(schema.UTILISATION_BOUNDS)}",
    "version": "a version like 1.2.3",
}


def _names() -> Iterator[tuple[str, tuple[str, ...], Kind]]:
    """Yield the name, labels and kind of all samples, in schema order."""
    for metric in (*schema.METRICS, *schema.PUSH_METRICS):
        if metric.kind is Kind.HISTOGRAM:
            yield f"{metric.name}{_BUCKET}", metric.labels, metric.kind
            yield f"{metric.name}{_COUNT}", metric.labels[:1], metric.kind
        else:
            yield metric.sample_name, metric.labels, metric.kind


_LABELS = {name: {label: _READ[label] for label in sorted(labels)} for name, labels, _ in _names()}
_PLACES = {name: number for number, name in enumerate(_LABELS)}
_COUNTERS = frozenset(name for name, _, kind in _names() if kind is not Kind.GAUGE)

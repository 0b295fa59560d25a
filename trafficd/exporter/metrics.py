"""Releases to the pages that a scrape gets, rendered once a release."""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client import exposition as text_format
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.openmetrics import exposition as open_metrics
from prometheus_client.registry import Collector

from trafficd import __version__, schema
from trafficd.releases import Release
from trafficd.schema import Kind

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """One rendered page: its content type, its body, and the body compressed by gzip."""

    content_type: str
    body: bytes
    gzipped: bytes


def render(release: Release) -> dict[str, Page]:
    """Return the pages of *release* by content type.

    Shape: the same series always, whatever happened; only values differ.
    """
    registry = CollectorRegistry()
    registry.register(_ReleaseCollector(release))
    open_text = open_metrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    return {
        TEXT: _page(TEXT, text_format.generate_latest(registry)),
        OPEN_METRICS: _page(OPEN_METRICS, open_text),
    }


class _ReleaseCollector(Collector):
    """The metric families of one release."""

    def __init__(self, release: Release) -> None:
        self._release = release

    def collect(self) -> Iterable[Metric]:
        for metric in schema.METRICS:
            if metric is schema.UPLINK_UTILISATION:
                yield _utilisation(self._release)
                continue
            family = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
            rendered = family(metric.name, metric.help, labels=metric.labels)
            for labels, value in _samples(metric, self._release):
                rendered.add_metric(labels, value)
            yield rendered


def _samples(metric: schema.Metric, release: Release) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the label values and the value of each series of *metric*."""
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
            yield (schema.Fault.OVERRUN,), release.faults.overruns
            yield (schema.Fault.MALFORMED,), release.faults.malformed
            yield (schema.Fault.GAP,), release.faults.gaps
        case schema.BUILD_INFO:
            yield (__version__,), 1
        case _:
            raise AssertionError(f"no value for {metric.name}")


def _utilisation(release: Release) -> HistogramMetricFamily:
    """Return the histogram, without a sum: less the totals, it would tell the slots left out."""
    metric = schema.UPLINK_UTILISATION
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels[:1])
    for direction, slots in (
        (schema.Direction.RECEIVE, release.utilisation.receive),
        (schema.Direction.TRANSMIT, release.utilisation.transmit),
    ):
        buckets = zip(schema.UTILISATION_BOUNDS, accumulate(slots), strict=True)
        family.add_metric([direction], list(buckets), sum_value=None)
    return family


def _page(content_type: str, body: bytes) -> Page:
    # Without a time in it, the same release is the same bytes.
    return Page(content_type, body, gzip.compress(body, mtime=0))

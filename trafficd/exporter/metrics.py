"""Releases to the pages that a scrape gets, rendered once a release."""

import gzip
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from prometheus_client import CollectorRegistry, Metric
from prometheus_client import exposition as text_format
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.openmetrics import exposition as open_metrics
from prometheus_client.registry import Collector

from trafficd import schema
from trafficd.exporter.push import PushHealth
from trafficd.releases import Release
from trafficd.schema import Kind
from trafficd.series import samples, utilisation

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """One rendered page: its content type, its body, and the body compressed by gzip."""

    content_type: str
    body: bytes
    gzipped: bytes


def render(release: Release, pushes: Sequence[PushHealth] = ()) -> dict[str, Page]:
    """Return the pages of *release* by content type, with how pushing goes to each destination.

    Shape: the same series always, whatever happened; only values differ.
    """
    registry = CollectorRegistry()
    registry.register(_ReleaseCollector(release, pushes))
    open_text = open_metrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    return {
        TEXT: _page(TEXT, text_format.generate_latest(registry)),
        OPEN_METRICS: _page(OPEN_METRICS, open_text),
    }


class _ReleaseCollector(Collector):
    """The metric families of one release, and of the exporter where it pushes."""

    def __init__(self, release: Release, pushes: Sequence[PushHealth]) -> None:
        self._release = release
        self._pushes = pushes

    def collect(self) -> Iterable[Metric]:
        for metric in schema.METRICS:
            if metric is schema.UPLINK_UTILISATION:
                yield _utilisation(self._release)
            else:
                yield _family(metric, samples(metric, self._release))
        if self._pushes:
            for metric, value in _OF_PUSH.items():
                yield _family(metric, (((each.destination,), value(each)) for each in self._pushes))


_OF_PUSH: dict[schema.Metric, Callable[[PushHealth], int]] = {
    schema.PUSH_SENT: attrgetter("sent"),
    schema.PUSH_FAILED: attrgetter("failed"),
    schema.PUSH_DROPPED: attrgetter("dropped"),
    schema.PUSH_PENDING: attrgetter("pending"),
    schema.PUSH_LAST_SUCCESS: attrgetter("last_success_at"),
}


def _family(
    metric: schema.Metric, found: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in found:
        family.add_metric(labels, value)
    return family


def _utilisation(release: Release) -> HistogramMetricFamily:
    """Return the histogram, without a sum: less the totals, it would tell the slots left out."""
    metric = schema.UPLINK_UTILISATION
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels[:1])
    for direction, buckets in utilisation(release):
        family.add_metric([direction], buckets, sum_value=None)
    return family


def _page(content_type: str, body: bytes) -> Page:
    # Without a time in it, the same release is the same bytes.
    return Page(content_type, body, gzip.compress(body, mtime=0))

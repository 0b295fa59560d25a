"""Sends what a plan on standard input says, by OpenTelemetry's SDK and its remote-write exporter.

It runs with OpenTelemetry's packages, never trafficd's. On standard output stands, as JSON, what
the exporter logged of each export, and what the receiver had answered.

All of it is public API. The SDK stamps with its own clock, and has no option for another: an export
of a chosen time is what the SDK collected, with the times of its points replaced.
"""

import json
import logging
import sys
from dataclasses import replace
from typing import Any

# In build/opentelemetry, and in no environment that mypy sees.
from opentelemetry.exporter.prometheus_remote_write import (  # type: ignore[import-not-found]
    PrometheusRemoteWriteMetricsExporter,
)
from opentelemetry.sdk.metrics import MeterProvider  # type: ignore[import-not-found]
from opentelemetry.sdk.metrics.export import (  # type: ignore[import-not-found]
    InMemoryMetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource  # type: ignore[import-not-found]


class _Heard(logging.Handler):
    """What the exporter logs of failures, with the answer behind each."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        error: Any = record.args[0] if isinstance(record.args, tuple) and record.args else None
        answer = getattr(error, "response", None)
        text = "" if answer is None else answer.text
        self.said.append({"logged": record.getMessage(), "answer": text})


class _Instruments:
    """Instruments by name, and how far the counters among them are."""

    def __init__(self, provider: Any) -> None:
        self._meter = provider.get_meter("foreign")
        self._made: dict[str, Any] = {}
        self._values: dict[str, float] = {}

    def show(self, kind: str, name: str, unit: str, labels: dict[str, str], value: float) -> None:
        """Let a counter, a gauge or a histogram say *value*."""
        if name not in self._made:
            self._made[name] = getattr(self._meter, f"create_{kind}")(name, unit=unit)
        if kind == "counter":
            key = json.dumps([name, labels])
            self._made[name].add(value - self._values.get(key, 0), labels)
            self._values[key] = value
        elif kind == "gauge":
            self._made[name].set(value, labels)
        else:
            self._made[name].record(value, labels)


def _stamped(collected: Any, at: int) -> Any:
    """Return what the SDK collected as if it had been at *at*, in UTC seconds."""

    def at_that_time(metric: Any) -> Any:
        points = [replace(each, time_unix_nano=at * 10**9) for each in metric.data.data_points]
        return replace(metric, data=replace(metric.data, data_points=points))

    return replace(
        collected,
        resource_metrics=[
            replace(
                resource,
                scope_metrics=[
                    replace(scope, metrics=[at_that_time(each) for each in scope.metrics])
                    for scope in resource.scope_metrics
                ],
            )
            for resource in collected.resource_metrics
        ],
    )


def main() -> None:
    """Do what the plan says."""
    plan = json.load(sys.stdin)
    heard = _Heard()
    # Of the exporter alone: below it, each try of a connection is logged.
    logging.getLogger("opentelemetry.exporter.prometheus_remote_write").addHandler(heard)
    exporter = PrometheusRemoteWriteMetricsExporter(
        plan["endpoint"], headers={"Authorization": f"Bearer {plan['token']}"}
    )
    is_stamped = all(each["at"] for each in plan["exports"])
    reader = (
        InMemoryMetricReader()
        if is_stamped
        else PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    )
    # With what the SDK says of itself besides, or without.
    resource = (Resource.create if plan["has_sdk_labels"] else Resource)(plan["labels"])
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    instruments = _Instruments(provider)
    collected = []
    for export in plan["exports"]:
        for point in export["points"]:
            instruments.show(*point)
        if is_stamped:
            collected.append(_stamped(reader.get_metrics_data(), export["at"]))
        else:
            reader.force_flush()
    for number in plan["order"] if is_stamped else ():
        exporter.export(collected[number])
    json.dump(heard.said, sys.stdout)


if __name__ == "__main__":
    main()

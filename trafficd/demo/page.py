"""What a node publishes, read like any scraper reads it."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from trafficd import schema
from trafficd.releases import Totals

_PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Published:
    """The totals on a page; *at* is the grid point they were released for, 0 before the first."""

    at: int
    uplink: Totals
    tunnel: Totals


def scrape(host: str, port: int, path: str) -> Published | None:
    """Return what is published there, or None if nobody answers yet."""
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        return None
    return published(text)


def published(text: str) -> Published:
    """Return the totals on the page *text*."""
    values = {
        sample.name: int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }
    return Published(
        values[schema.RELEASE_TIMESTAMP.sample_name],
        _totals(values, schema.UPLINK_RECEIVE, schema.UPLINK_TRANSMIT),
        _totals(values, schema.TUNNEL_RECEIVE, schema.TUNNEL_TRANSMIT),
    )


def _totals(values: Mapping[str, int], rx: schema.Metric, tx: schema.Metric) -> Totals:
    return Totals(values[rx.sample_name], values[tx.sample_name])

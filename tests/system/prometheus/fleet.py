"""A fleet as an engine holds it: 100 days of releases, and what a collector says of it."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from math import pi, sin

from tests.wire.specification import Sent
from trafficd import schema

HOUR, DAY = 3600, 86400
DAYS = 100
SLOTS_AN_HOUR = 12
CAPACITY = 10**9
CLASSES = ("openvpn", "wireguard")
# Each node, where it is, and how busy it is.
NODES = (("ams-1", "ams", 0.5), ("ams-2", "ams", 0.7), ("fra-1", "fra", 0.9), ("fra-2", "fra", 0.6))
# That of which nothing was heard for a while.
LATE, LATE_HOURS = "ams-2", 5
BOUNDS = [float(bound) for bound in schema.UTILISATION_BOUNDS]


def utilisation(busy: float, hour: int) -> float:
    """Return the share of the capacity in an hour since the begin: a day, and growth."""
    return busy * (0.6 + 0.2 * sin(2 * pi * hour / 24) + 0.2 * hour / (DAYS * 24))


def received(busy: float, hours: int) -> list[int]:
    """Return what a node's uplink received in each hour, in whole MiB."""
    moved = (utilisation(busy, hour) * CAPACITY / 8 * HOUR for hour in range(hours))
    return [int(each) >> 20 << 20 for each in moved]


def histories(begin: int, end: int) -> Iterator[list[Sent]]:
    """Yield each node's series, from one midnight to a grid point: UTC seconds."""
    for node, location, busy in NODES:
        hours = (end - begin) // HOUR - (LATE_HOURS if node == LATE else 0)
        whose = {"location": location, "node": node}
        times = [(begin + hour * HOUR) * 1000 for hour in range(hours + 1)]
        totals = [0, *accumulate(received(busy, hours))]

        def series(metric: str, values: list[float], /, **own: str) -> Sent:
            said = {"__name__": metric} | whose | own  # noqa: B023  # called in this turn only
            return dict(sorted(said.items())), list(zip(times, values, strict=True))  # noqa: B023

        bytes_of = {
            schema.UPLINK_RECEIVE: 1.0,
            schema.UPLINK_TRANSMIT: 0.8,
            schema.TUNNEL_RECEIVE: 0.75,
            schema.TUNNEL_TRANSMIT: 0.95,
        }
        sent = [
            series(metric.sample_name, [float(int(part * each)) for each in totals])
            for metric, part in bytes_of.items()
        ]
        for metric in (schema.CLASS_RECEIVE, schema.CLASS_TRANSMIT):
            for name in CLASSES:
                halves = [float(each // 2) for each in totals]
                sent.append(series(metric.sample_name, halves, **{"class": name}))
        for direction in schema.Direction:
            counts = slots(busy, hours)
            name = schema.UPLINK_UTILISATION.name
            for place, bound in enumerate(schema.UTILISATION_BOUNDS):
                values = [float(each[place]) for each in counts]
                sent.append(series(f"{name}_bucket", values, direction=direction, le=bound))
            values = [float(each[-1]) for each in counts]
            sent.append(series(f"{name}_count", values, direction=direction))
        for metric, gauge in (
            (schema.UPLINK_CAPACITY, [float(CAPACITY)] * len(times)),
            (schema.RELEASE_TIMESTAMP, [float(each // 1000) for each in times]),
            (schema.START_TIMESTAMP, [float(begin)] * len(times)),
        ):
            sent.append(series(metric.name, gauge))
        yield sent


def slots(busy: float, hours: int) -> list[list[int]]:
    """Return the cumulative buckets as of each hour; they move at midnight."""
    counts = [0] * len(BOUNDS)
    shown = [list(counts)]
    for hour in range(hours):
        counts[bisect_left(BOUNDS, utilisation(busy, hour))] += SLOTS_AN_HOUR
        is_midnight = (hour + 1) % 24 == 0
        shown.append(list(accumulate(counts)) if is_midnight else shown[-1])
    return shown


def collector(now: int) -> Iterator[Sent]:
    """Yield what a collector and a node's own page say, as of *now*: much of it is bad news."""
    half_hours = [(now - 3600 + number * 1800) * 1000 for number in range(3)]

    def series(name: str, *values: float, **labels: str) -> Sent:
        said = {"__name__": name, "job": "trafficd-collector"} | labels
        times = half_hours[-len(values) :]
        return dict(sorted(said.items())), list(zip(times, values, strict=True))

    for node, location, _ in NODES:
        late = LATE_HOURS * HOUR if node == LATE else 600
        labels = {"node": node, "location": location}
        yield series("trafficd_node_lateness_seconds", late, **labels)
        yield series("trafficd_node_last_release_timestamp_seconds", now - late, **labels)
    for location, days in (("ams", 200), ("fra", 5), ("sto", -3)):
        yield series("trafficd_plan_p95_bits_per_second", 1.9e9, location=location)
        yield series("trafficd_plan_capacity_bits_per_second", 2.0 * CAPACITY, location=location)
        for threshold in ("0.8", "1"):
            order_by = now + days * DAY
            for name, at in (("saturation_first", order_by + 60 * DAY), ("order_by", order_by)):
                full = f"trafficd_plan_{name}_timestamp_seconds"
                yield series(full, at, location=location, threshold=threshold)
    for result in ("full", "identity"):
        yield series("trafficd_collector_messages_total", 0, 1, 2, result=result)
    fra = {"node": "fra-1", "location": "fra"}
    to = fra | {"destination": "collector"}
    yield series("trafficd_push_pending_releases", 3, **to)
    yield series("trafficd_push_dropped_releases_total", 0, 1, 2, **to)
    yield series("trafficd_reader_faults_total", 0, 1, 2, fault="gap", **fra)
    yield series("trafficd_audit_failing_claims", 2, instance="fra-1:9100")
    file = "/run/trafficd-audit/audit.prom"
    yield series("node_textfile_mtime_seconds", now - 3 * DAY, instance="fra-1:9100", file=file)

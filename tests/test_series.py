"""The series of a release: all of them, as the schema names them, and no other is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd import schema
from trafficd.errors import UnknownSeriesError
from trafficd.releases import Faults, Release, Totals, Utilisation
from trafficd.schema import UTILISATION_BOUNDS
from trafficd.series import Series, is_counter, known_series, place, series_of

SLOTS = tuple(range(1, len(UTILISATION_BOUNDS) + 1))
RELEASE = Release(
    at=7200,
    started_at=3600,
    capacity_bits_per_second=10**10,
    uplink=Totals(1 << 20, 2 << 20),
    tunnel=Totals(3 << 20, 4 << 20),
    classes=(("wireguard", Totals(5 << 20, 6 << 20)), ("ppp", Totals(7 << 20, 8 << 20))),
    utilisation=Utilisation(SLOTS, SLOTS[::-1]),
    faults=Faults(overruns=1, malformed=2, gaps=3),
)


def test_a_release_is_the_series_of_the_schema_and_their_values() -> None:
    values = {str(series): value for series, value in series_of(RELEASE)}

    assert values["trafficd_uplink_transmit_bytes_total"] == 2 << 20
    assert values['trafficd_class_receive_bytes_total{class="ppp"}'] == 7 << 20
    assert values['trafficd_reader_faults_total{fault="gap"}'] == 3
    assert values["trafficd_release_timestamp_seconds"] == 7200
    assert values["trafficd_start_timestamp_seconds"] == 3600
    name = "trafficd_uplink_utilisation_ratio"
    # Cumulative, as Prometheus has them.
    assert values[f'{name}_bucket{{direction="receive",le="0.1"}}'] == 1 + 2
    assert values[f'{name}_bucket{{direction="transmit",le="+Inf"}}'] == sum(SLOTS)
    assert values[f'{name}_count{{direction="receive"}}'] == sum(SLOTS)
    assert len(values) == 4 + 2 * 2 + 2 * len(UTILISATION_BOUNDS) + 2 + 3 + 3 + 1


def test_every_series_of_a_release_is_known_and_stands_in_its_place() -> None:
    found = [series for series, _ in series_of(RELEASE)]

    assert [known_series(each.name, dict(each.labels)) for each in found] == found
    assert sorted(found, key=place) == found
    assert len(set(map(place, found))) == len(found)


@pytest.mark.parametrize("written", ["1", "1.0", "1.00", "1e0"])
def test_a_bound_is_the_same_however_it_is_written(written: str) -> None:
    name = "trafficd_uplink_utilisation_ratio_bucket"

    series = known_series(name, {"le": written, "direction": "receive"})

    assert series == Series(name, (("direction", "receive"), ("le", "1.0")))


REFUSED = {
    "another exporter's": ("node_network_receive_bytes_total", {"device": "ppp17"}, "not a metric"),
    "no name": ("", {}, "not a metric"),
    "a family": ("trafficd_uplink_receive_bytes", {}, "not a metric"),
    "the sum of the histogram": (
        *("trafficd_uplink_utilisation_ratio_sum", {"direction": "receive"}, "not a metric"),
    ),
    "a label more": ("trafficd_uplink_receive_bytes_total", {"user": "anna"}, "'user'"),
    "a label less": ("trafficd_class_receive_bytes_total", {}, "label class: missing"),
    "an address": (
        *("trafficd_class_receive_bytes_total", {"class": "192.0.2.7"}, "lower-case word"),
    ),
    "a long class": ("trafficd_class_receive_bytes_total", {"class": "a" * 33}, "lower-case word"),
    "a mail address": ("trafficd_class_receive_bytes_total", {"class": "a@b"}, "lower-case word"),
    "a class with a line's end": (
        *("trafficd_class_receive_bytes_total", {"class": "ppp\n"}, "lower-case word"),
    ),
    "another bound": (
        "trafficd_uplink_utilisation_ratio_bucket",
        {"direction": "receive", "le": "0.07"},
        "one of",
    ),
    "no bound": (
        "trafficd_uplink_utilisation_ratio_bucket",
        {"direction": "receive", "le": "nan"},
        "one of",
    ),
    "another direction": (
        *("trafficd_uplink_utilisation_ratio_count", {"direction": "up"}, "one of"),
    ),
    "an address as version": ("trafficd_build_info", {"version": "192.0.2.7"}, "a version"),
    "another fault": ("trafficd_reader_faults_total", {"fault": "user"}, "one of"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_release_has_is_refused_with_a_reason(what: str) -> None:
    name, labels, reason = REFUSED[what]

    with pytest.raises(UnknownSeriesError, match=reason) as refusal:
        known_series(name, labels)

    assert "\n" not in str(refusal.value)


@given(
    st.text(max_size=80), st.dictionaries(st.text(max_size=12), st.text(max_size=80), max_size=4)
)
def test_no_text_becomes_a_series(name: str, labels: dict[str, str]) -> None:
    with pytest.raises(UnknownSeriesError) as refusal:
        known_series(name, labels)

    assert len(str(refusal.value)) < 200
    assert str(refusal.value).isprintable()


def test_counters_are_those_of_the_schema() -> None:
    grows = {series.name for series, _ in series_of(RELEASE) if is_counter(series)}

    stands = {series.name for series, _ in series_of(RELEASE)} - grows
    assert stands == {metric.name for metric in schema.METRICS if metric.kind is schema.Kind.GAUGE}
    assert "trafficd_uplink_utilisation_ratio_bucket" in grows

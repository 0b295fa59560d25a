"""The page: what a scrape sees, byte for byte, and as Prometheus' own parsers read it."""

import gzip
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text

from trafficd import schema
from trafficd.exporter.metrics import OPEN_METRICS, TEXT, render
from trafficd.exporter.push import PushHealth
from trafficd.releases import Faults, Release, Totals, Utilisation

GOLDEN = Path(__file__).parent.parent / "golden"
MIB = 1024 * 1024

RELEASE = Release(
    at=1_700_002_800,
    started_at=1_699_999_200,
    capacity_bits_per_second=10_000_000_000,
    uplink=Totals(8 * MIB, 9 * MIB),
    tunnel=Totals(5 * MIB, 6 * MIB),
    classes=(("l2tp", Totals(MIB, 2 * MIB)), ("wireguard", Totals(4 * MIB, 4 * MIB))),
    utilisation=Utilisation(receive=(100, 80, *(0,) * 33, 2), transmit=(*(0,) * 34, 288, 0)),
    faults=Faults(overruns=1, malformed=2, gaps=3),
)


@pytest.mark.parametrize(
    ("content_type", "file"), [(TEXT, "metrics.txt"), (OPEN_METRICS, "metrics.openmetrics.txt")]
)
def test_the_page_is_the_golden_page(
    content_type: str, file: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trafficd.series.__version__", "1.2.3")

    body = render(RELEASE)[content_type].body

    if request.config.getoption("--update-golden"):
        (GOLDEN / file).write_bytes(body)
    assert body.decode() == (GOLDEN / file).read_text()


def test_both_formats_say_the_same_to_prometheus_own_parsers() -> None:
    pages = render(RELEASE)

    text, open_text = (
        {
            (sample.name, *sample.labels.items()): sample.value
            for family in read(pages[content_type].body.decode())
            for sample in family.samples
        }
        for read, content_type in ((read_text, TEXT), (read_open, OPEN_METRICS))
    )

    assert text == open_text
    assert text["trafficd_uplink_receive_bytes_total",] == 8 * MIB
    assert text["trafficd_class_transmit_bytes_total", ("class", "l2tp")] == 2 * MIB
    assert text["trafficd_release_timestamp_seconds",] == 1_700_002_800
    assert text["trafficd_reader_faults_total", ("fault", "malformed")] == 2


def test_nothing_stands_on_the_page_that_the_schema_does_not_name() -> None:
    known = (*schema.METRICS, *schema.PUSH_METRICS)
    allowed = {metric.name: set(metric.labels) for metric in known}

    page = render(RELEASE, [PushHealth("centre")])[OPEN_METRICS].body.decode()

    for family in read_open(page):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            assert set(sample.labels) == allowed[family.name]


def test_how_pushing_goes_stands_on_the_page_by_destination() -> None:
    pushes = [
        PushHealth("centre", sent=7, failed=3, dropped=2, pending=5, last_success_at=1_700_002_800),
        PushHealth("mimir"),
    ]

    values = {
        (sample.name, sample.labels["destination"]): sample.value
        for family in read_text(render(RELEASE, pushes)[TEXT].body.decode())
        for sample in family.samples
        if "destination" in sample.labels
    }

    names = (
        "trafficd_push_sent_releases_total",
        "trafficd_push_failed_tries_total",
        "trafficd_push_dropped_releases_total",
        "trafficd_push_pending_releases",
        "trafficd_push_last_success_timestamp_seconds",
    )
    assert [values[name, "centre"] for name in names] == [7, 3, 2, 5, 1_700_002_800]
    assert [values[name, "mimir"] for name in names] == [0] * 5


def test_without_destinations_the_page_says_nothing_of_pushing() -> None:
    assert b"push" not in render(RELEASE)[TEXT].body


def test_gzip_holds_the_same_page_and_no_time() -> None:
    first, second = render(RELEASE)[TEXT], render(RELEASE)[TEXT]

    assert gzip.decompress(first.gzipped) == first.body
    assert first.gzipped == second.gzipped


def test_totals_stay_exact_on_the_page_up_to_an_exabyte() -> None:
    total = (2**60 // MIB - 1) * MIB
    release = Release(0, 0, 0, Totals(total, 0), Totals(), ())

    values = {
        sample.name: sample.value
        for family in read_text(render(release)[TEXT].body.decode())
        for sample in family.samples
    }

    assert int(values["trafficd_uplink_receive_bytes_total"]) == total

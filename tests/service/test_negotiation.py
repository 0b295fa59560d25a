"""Accept and Accept-Encoding, as RFC 9110 section 12.5 reads them."""

import pytest

from trafficd.service.negotiation import accepts_gzip, preferred

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# What Prometheus 2.42 and 3.x send.
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3_TEXT_FIRST = (
    "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        (BROWSER, TEXT),
        (PROMETHEUS_2, OPEN),
        (PROMETHEUS_3_TEXT_FIRST, TEXT),
        ("application/openmetrics-text", OPEN),
        ("application/*", OPEN),
        ("text/plain;q=0.3, application/openmetrics-text;q=0.4", OPEN),
        ("text/plain;q=0.4, application/openmetrics-text;q=0.4", TEXT),
        ("text/plain;q=0, */*", OPEN),
        ("APPLICATION/OpenMetrics-Text ; Q=1.0 , text/plain;q=0.999", OPEN),
        ("image/png", TEXT),
        (";;;q=,,,", TEXT),
    ],
)
def test_the_best_liked_representation_is_chosen(accept: str | None, expected: str) -> None:
    assert preferred(accept, (TEXT, OPEN)) == expected


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("*", True),
        ("*;q=0", False),
        ("br", False),
        ("x-gzip", True),
    ],
)
def test_gzip_is_sent_to_those_who_like_it(accept_encoding: str | None, expected: bool) -> None:
    assert accepts_gzip(accept_encoding) is expected

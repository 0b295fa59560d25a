"""The page as it leaves, held to the schema: what the exporter renders passes, and nothing else."""

import dataclasses

import pytest

from tests.audit.known import SETTINGS, but_pass
from trafficd import __version__
from trafficd.audit.checks.message import message_findings
from trafficd.audit.finding import Unread, Verdict
from trafficd.audit.page import Expected, Message, read_message
from trafficd.exporter.metrics import TEXT, render
from trafficd.exporter.push import PushHealth
from trafficd.releases import Faults, Release, Totals, Utilisation
from trafficd.schema import ROUNDING_BYTES, UTILISATION_BOUNDS

WINDOW = 3600
TERABYTES = Totals((1 << 43) + ROUNDING_BYTES, 1 << 42)
SLOTS = tuple(range(len(UTILISATION_BOUNDS)))
RELEASE = Release(
    at=1_700_002_800,
    started_at=1_699_999_200,
    capacity_bits_per_second=10**10,
    uplink=TERABYTES,
    tunnel=TERABYTES,
    classes=(("l2tp", TERABYTES), ("wireguard", Totals())),
    utilisation=Utilisation(SLOTS, SLOTS),
    faults=Faults(3, 1, 2),
)
EXPECTED = Expected(("l2tp", "wireguard"), WINDOW, 10**10, __version__)


def page(release: Release = RELEASE) -> str:
    return render(release)[TEXT].body.decode()


def judged(text: str, expected: Expected = EXPECTED) -> set[str]:
    return but_pass([*message_findings(read_message(text), expected, SETTINGS)])


def test_what_the_exporter_renders_passes() -> None:
    assert judged(page()) == set()


@pytest.mark.parametrize(
    "more",
    [
        'trafficd_link_receive_bytes_total{link="ppp17"} 1048576.0\n',
        'trafficd_class_receive_bytes_total{class="alice"} 1048576.0\n',
        'trafficd_uplink_receive_bytes_total{link="ppp17"} 1048576.0\n',
        "trafficd_uplink_utilisation_ratio_sum 17.0\n",
        "# ppp17\n",
        "# HELP trafficd_build_info alice was here\n",
        "# EOF\n",
        "\n",
        'trafficd_build_info{version="0.0.9"} 1.0\n',
        "trafficd_uplink_receive_bytes_total 1048576.0 1700000000\n",
    ],
)
def test_a_line_more_fails(more: str) -> None:
    assert judged(page() + more) == {"message.series"}


def test_an_exporter_that_pushes_says_how_it_goes_by_the_configured_names_alone() -> None:
    expected = dataclasses.replace(EXPECTED, destinations=("centre",))
    health = PushHealth("centre", sent=7, failed=3, dropped=1, pending=2, last_success_at=WINDOW)

    def pushed(*pushes: PushHealth) -> str:
        return render(RELEASE, pushes)[TEXT].body.decode()

    assert judged(pushed(health), expected) == set()
    assert judged(pushed(health)) == {"message.series"}
    assert judged(page(), expected) == {"message.series"}
    stranger = dataclasses.replace(health, destination="alice")
    assert judged(pushed(health, stranger), expected) == {"message.series"}
    late = dataclasses.replace(health, last_success_at=WINDOW + 17)
    assert judged(pushed(late), expected) == {"message.values"}


def test_a_series_twice_or_a_line_less_fails() -> None:
    text = page()
    for line in (
        'trafficd_reader_faults_total{fault="overrun"} 3.0\n',
        'trafficd_reader_faults_total{fault="gap"} 2.0\n',
    ):
        assert judged(text + line) == {"message.series"}
        assert judged(text.replace(line, "")) == {"message.series"}


def test_a_comment_in_a_label_fails() -> None:
    assert "message.series" in judged(page().replace('{class="l2tp"}', '{class="l2tp",note="x"}'))


@pytest.mark.parametrize(
    "release",
    [
        dataclasses.replace(RELEASE, uplink=Totals(ROUNDING_BYTES + 1, 0)),
        dataclasses.replace(RELEASE, classes=(("l2tp", Totals(0, 7)), ("wireguard", Totals()))),
        dataclasses.replace(RELEASE, at=1_700_002_801),
        dataclasses.replace(RELEASE, started_at=1_700_000_000),
        dataclasses.replace(RELEASE, capacity_bits_per_second=1),
    ],
)
def test_a_value_that_is_not_rounded_or_off_the_grid_fails(release: Release) -> None:
    assert judged(page(release)) == {"message.values"}


@pytest.mark.parametrize("value", ["NaN", "-1048576.0", "+Inf", "0.5"])
def test_a_value_that_is_no_count_fails(value: str) -> None:
    line = 'trafficd_reader_faults_total{fault="overrun"}'

    assert judged(page().replace(f"{line} 3.0", f"{line} {value}")) == {"message.values"}


def test_buckets_that_shrink_fail() -> None:
    last = '{direction="receive",le="0.05"} 0.0'

    assert judged(page().replace(last, last.replace("0.0", "9.0"))) != set()
    shrunk = page().replace('le="0.05"} 0.0', 'le="0.05"} 9.0')
    assert judged(shrunk) == {"message.values"}


def test_no_page_is_unknown_and_populations_are_told_all_the_same() -> None:
    findings = [*message_findings(Unread("it answers 401"), EXPECTED, SETTINGS)]

    assert [each.verdict for each in findings] == [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.PASS]
    assert "wireguard" in findings[2].evidence


def test_half_a_page_is_unknown() -> None:
    assert isinstance(read_message(page()[:-5]), Unread)
    assert isinstance(read_message(page()), Message)

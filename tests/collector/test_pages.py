"""What stands on a page: every number of its document, and the reason where there is none."""

import json
import re
from datetime import date
from http import HTTPStatus

import pytest

from tests.collector.asking import PLAN, USED, asked, text
from tests.collector.plans import AS_OF, bare, plan_of, unknown
from trafficd.planning.document import Crossing, Day, Detail, Growth, Percentiles, Summary, Usage
from trafficd.planning.wording import NOTHING, change, day, rate, share

# ---- every number is in the HTML ----


def words(summary: Summary) -> list[str]:
    told = [
        summary.name,
        rate(summary.capacity_bits_per_second),
        rate(summary.p95_bits_per_second),
        share(summary.utilisation),
        day(summary.order_by),
    ]
    if summary.growth:
        growth = summary.growth
        told += [change(each) for each in (growth.point, growth.low_80, growth.high_80)]
    return told


async def test_the_ranking_holds_the_numbers_of_every_location_and_of_the_fleet() -> None:
    page = text(await asked("/"))

    assert PLAN.fleet is not None
    for summary in (*PLAN.ranking, PLAN.fleet.summary):
        assert [each for each in words(summary) if each not in page] == []
        assert summary.sentence in page
        ordered = next(each for each in summary.crossings if each.threshold == PLAN.order_at)
        assert ordered.first is None or f"{ordered.first} to {ordered.last}" in page
    for score in PLAN.fleet.scores:
        assert f"{score.horizon_days} {score.forecasts} {score.smape_percent:.1f} %" in page
    assert f"as of {AS_OF}, UTC" in page


async def test_the_ranking_is_in_the_order_of_the_plan() -> None:
    body = (await asked("/")).body.decode()

    shown = re.findall(r'<a href="/locations/([^"]+)">', body)

    assert shown == [each.name for each in PLAN.ranking]


@pytest.mark.parametrize("path", ["/fleet", "/locations/ams"])
async def test_a_place_holds_every_number_of_its_document(path: str) -> None:
    page = text(await asked(path))
    detail = PLAN.fleet if path == "/fleet" else PLAN.locations["ams"]

    assert detail is not None
    for summary in (detail.summary, *detail.uplinks):
        assert [each for each in words(summary)[1:] if each not in page] == []
    for crossing in detail.summary.crossings:
        told = f"{day(crossing.first)} {day(crossing.last)} {day(crossing.order_by)}"
        found = f"{rate(crossing.threshold_bits_per_second)} {told} {crossing.reason or ''}"
        assert found.rstrip() in page
    for each in detail.history:
        p95, mean = rate(each.p95_bits_per_second), rate(each.mean_bits_per_second)
        assert f"{each.date} {p95} {mean}" in page
    for band in detail.forecast:
        edges = [band.point, band.low_80, band.high_80, band.low_95, band.high_95]
        assert f"{band.date} {' '.join(rate(edge) for edge in edges)}" in page
    for score in detail.scores:
        held = f"{share(score.covered_80)} {share(score.covered_95)} {share(score.width_80)}"
        assert f"{score.smape_percent:.1f} % {held}" in page


async def test_a_place_holds_its_percentiles_and_its_usage() -> None:
    percentiles = Percentiles(
        begin="2026-10-01",
        end="2026-11-01",
        receive_bits_per_second=1.11e9,
        transmit_bits_per_second=2.22e9,
        highest_bits_per_second=3.33e9,
        both_bits_per_second=4.44e9,
        error_bits_per_second=5.55e6,
        upper_bound_bits_per_second=6.66e9,
        slots_seen=8123,
        slots_expected=8640,
        resolution="5 min",
        notes=["a day is missing"],
    )
    usage = Usage(
        slots_above={"0.5": 0.42, "0.9": 0.013},
        busy_hour_utc=23,
        peak_to_mean=1.88,
        uplink_bytes_per_tunnel_byte=2.067,
        classes={"wireguard": 0.75, "ppp": 0.25},
    )

    page = text(
        await asked(
            "/locations/fra",
            plan_of([bare(unknown(), percentiles=percentiles, usage=usage)]),
        )
    )

    for told in (
        "95th percentile, 2026-10-01 to 2026-11-01",
        "Receive 1.11 Gbit/s",
        "Transmit 2.22 Gbit/s",
        "The higher of both 3.33 Gbit/s",
        "Both summed 4.44 Gbit/s",
        "Error, at most 5.55 Mbit/s",
        "summed 6.66 Gbit/s",
        "8123 of 8640",
        "Resolution 5 min",
        "a day is missing",
        "Slots above 50 % of it 42 %",
        "Slots above 90 % of it 1.3 %",
        "23:00 to 00:00",
        "Peak to mean 1.88",
        "Uplink bytes for each tunnel byte 2.07",
        "wireguard 75 %",
        "ppp 25 %",
    ):
        assert told in page


# ---- what is not known ----


async def test_before_the_first_plan_the_page_says_so_and_looks_again() -> None:
    page, document = await asked("/", None), await asked("/api/v1/plan", None)

    for response in (page, document):
        assert response.status is HTTPStatus.SERVICE_UNAVAILABLE
        assert response.headers["Retry-After"] == "2"
    assert '<meta http-equiv="refresh" content="2">' in page.body.decode()
    assert "being computed" in text(page)
    assert "being computed" in json.loads(document.body)["error"]


async def test_an_empty_plan_is_a_page_with_its_reason() -> None:
    empty = plan_of([], as_of=None, history_begins=None, reason="No release has come yet.")

    page = text(await asked("/", empty))

    assert "No release has come yet." in page
    assert "None" not in page
    assert (await asked("/fleet", empty)).status is HTTPStatus.NOT_FOUND
    assert (await asked("/what-if", empty)).status is HTTPStatus.OK


NO_DATE = Crossing(
    threshold=0.8,
    threshold_bits_per_second=8e9,
    first=None,
    last=None,
    order_by=None,
    reason="growth may be zero",
)
SHORT = Growth(days=183, point=0.1, low_80=-0.02, high_80=0.2)
DAY = Day(date=AS_OF, p95_bits_per_second=5e9, mean_bits_per_second=3e9)
GAP = Day(date=date(2026, 10, 30), p95_bits_per_second=None, mean_bits_per_second=None)
NO_USAGE = Usage(
    slots_above=None,
    busy_hour_utc=None,
    peak_to_mean=None,
    uplink_bytes_per_tunnel_byte=None,
    classes={},
)


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        (bare(unknown()), "no capacity is stated"),
        (bare(unknown()), "27 days of history, and it takes 28"),
        (bare(unknown()), "too few days to try the method on"),
        (bare(unknown()), "There is no day in the history that is held."),
        (bare(unknown(growth_reason="too short")), "too short"),
        (bare(unknown(**USED, crossings=[NO_DATE])), "growth may be zero"),
        (bare(unknown(**USED, growth=SHORT)), "Growth in 183 days +10 % 80 %: -2 % to +20 %"),
        (bare(unknown(notes=["not here any more: fra-2"])), "not here any more: fra-2"),
        (bare(unknown(), history=[DAY]), "2026-10-31 5.00 Gbit/s 3.00 Gbit/s"),
        (bare(unknown(), history=[GAP, DAY]), f"2026-10-30 {NOTHING} {NOTHING}"),
        (bare(unknown(), history=[GAP]), f"2026-10-30 {NOTHING} {NOTHING}"),
        (bare(unknown(), usage=NO_USAGE), "Peak to mean not known"),
        (bare(unknown(), uplinks=[unknown("fra-1")]), "fra-1"),
        (bare(unknown(utilisation=1.7)), "170 % of capacity"),
    ],
)
async def test_what_is_not_known_is_a_dash_with_its_reason(detail: Detail, told: str) -> None:
    plan = plan_of([detail], fleet=detail)

    for path in ("/", "/locations/fra", "/what-if"):
        response = await asked(path, plan)
        assert response.status is HTTPStatus.OK
        assert "None" not in text(response)

    assert told in text(await asked("/locations/fra", plan))


@pytest.mark.parametrize(
    ("order_by", "badge"),
    [
        (AS_OF, "order now"),
        (date(2026, 10, 1), "order now"),
        (date(2026, 11, 30), "within 30 days"),
        (date(2026, 12, 1), ""),
    ],
)
async def test_what_is_due_is_said_in_words(order_by: date, badge: str) -> None:
    page = text(await asked("/", plan_of([bare(unknown(order_by=order_by))])))

    assert [each for each in ("order now", "within 30 days") if f" {each} " in page] == [
        each for each in [badge] if each
    ]


@pytest.mark.parametrize("path", ["/", "/locations/<b>&/x", "/what-if"])
async def test_names_and_sentences_are_text_and_never_markup(path: str) -> None:
    hostile = unknown("<b>&/x", sentence="<script>alert(1)</script>", notes=['"><img src=x>'])
    plan = plan_of([bare(hostile, uplinks=[hostile])])

    body = (await asked(path, plan)).body.decode()

    assert "<script>" not in body
    assert "<img src=x" not in body
    assert "<b>" not in body
    assert path == "/what-if" or 'href="/locations/%3Cb%3E%26%2Fx"' in body or path != "/"


async def test_a_date_in_a_sentence_is_marked_as_one() -> None:
    sentence = "reached between 2027-01-06 and 2027-01-27: order by 2026-11-07 & <soon>."

    body = (await asked("/", plan_of([bare(unknown(sentence=sentence))]))).body.decode()

    assert (
        "reached between <time>2027-01-06</time> and <time>2027-01-27</time>: order by "
        "<time>2026-11-07</time> &amp; &lt;soon&gt;." in body
    )

"""The what-if form: what it supposes, what it shows, and what it refuses."""

import json
from http import HTTPStatus

import pytest

from tests.collector.asking import PLAN, USED, asked, text
from tests.collector.plans import FixedPlanner, unknown
from trafficd.errors import HistoryError
from trafficd.planning.document import WhatIf
from trafficd.planning.wording import NOTHING


async def test_what_stands_in_the_address_is_handed_on_as_it_is() -> None:
    planner = FixedPlanner(PLAN)
    query = [
        ("growth", "20"),
        ("add", "fra:10Gbit"),
        ("add", "ams:5Gbit"),
        ("lose_node", "fra-1"),
        ("lose_location", "fra"),
        ("capacity", "fra-1:20Gbit"),
        ("move", "fra:ams:25"),
        ("unheard", "of"),
    ]

    await asked("/api/v1/plan/what-if", planner, query=query)

    assert planner.asked == [query]


async def test_the_fields_of_the_form_make_what_an_address_may_have() -> None:
    planner = FixedPlanner(PLAN)
    query = [
        ("growth", ""),
        ("lose_node", ""),
        ("lose_location", "cdg"),
        ("add_to", "fra"),
        ("add_gbit", " 10 "),
        ("capacity_of", "fra-1"),
        ("capacity_gbit", "2.5"),
        ("move_from", "fra"),
        ("move_to", "ams"),
        ("move_percent", "25"),
    ]

    await asked("/what-if", planner, query=query)

    assert planner.asked == [
        [
            ("lose_location", "cdg"),
            ("add", "fra:10Gbit"),
            ("capacity", "fra-1:2.5Gbit"),
            ("move", "fra:ams:25"),
        ]
    ]


async def test_a_form_that_supposes_nothing_asks_for_nothing() -> None:
    planner = FixedPlanner(PLAN)

    response = await asked("/what-if", planner, query=[("growth", ""), ("add_gbit", " ")])

    assert (response.status, planner.asked) == (HTTPStatus.OK, [])


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ([("add_to", "fra")], "added capacity: choose a location and say how many Gbit/s"),
        ([("capacity_gbit", "5")], "another capacity: choose a node"),
        ([("move_from", "fra"), ("move_to", "ams")], "moved traffic: choose where from"),
        ([("growth", "1"), ("growth", "2")], "growth: it stands there twice"),
        ([("lose_node", "x")] * 51, "51 suppositions: at most 50"),
    ],
)
async def test_half_of_a_supposition_is_refused_in_a_sentence(
    query: list[tuple[str, str]], told: str
) -> None:
    page = await asked("/what-if", query=query)
    document = await asked("/api/v1/plan/what-if", query=query)

    assert page.status is document.status is HTTPStatus.BAD_REQUEST
    assert told in text(page)
    assert told in json.loads(document.body)["error"]


async def test_what_the_planner_refuses_is_said_and_stays_in_the_form() -> None:
    planner = FixedPlanner(PLAN, HistoryError("'xyz': no such location; there are ams"))
    query = [("lose_location", "xyz"), ("growth", "20")]

    page = await asked("/what-if", planner, query=query)
    document = await asked("/api/v1/plan/what-if", planner, query=query)

    assert page.status is document.status is HTTPStatus.BAD_REQUEST
    assert "'xyz': no such location; there are ams" in text(page)
    assert 'name="lose_location" value="xyz" checked' in page.body.decode()
    assert 'name="growth" step="any" min="-90" max="1000" value="20"' in page.body.decode()
    assert json.loads(document.body) == {"error": "'xyz': no such location; there are ams"}


async def test_a_result_shows_before_and_after_of_each_location() -> None:
    was = unknown("fra", **USED)
    lost = unknown("ams", **{**USED, "p95_bits_per_second": 1e9})
    told = {**USED, "p95_bits_per_second": 6e9, "utilisation": 0.6, "sentence": "It carries more."}
    now, new = unknown("fra", **told), unknown("cdg", **USED)
    answer = WhatIf(supposed=["ams is lost"], before=[was, lost], after=[now, new])

    page = text(
        await asked("/what-if", FixedPlanner(PLAN, answer), query=[("lose_location", "ams")])
    )

    for each in (
        "ams is lost",
        "It carries more.",
        "5.00 Gbit/s 50 % 6.00 Gbit/s 60 %",
        "It is not there any more.",
        f"1.00 Gbit/s 50 % {NOTHING}",
        f"{NOTHING} 5.00 Gbit/s 50 %",
    ):
        assert each in page


async def test_a_result_links_to_its_json_with_what_was_supposed() -> None:
    query = [("add_to", "fra"), ("add_gbit", "10"), ("lose_node", "fra-1")]

    body = (await asked("/what-if", query=query)).body.decode()

    address = "/api/v1/plan/what-if?lose_node=fra-1&amp;add=fra%3A10Gbit"
    assert f'<a href="{address}">' in body

"""The planning page and its JSON, asked for without a browser: which address answers what."""

import gzip
import json
import re
from http import HTTPStatus

import msgspec
import pytest

from tests.collector.asking import PLAN, asked, text
from tests.collector.plans import FixedPlanner, bare, plan_of, unknown
from trafficd.collector.site import Site
from trafficd.planning.document import Detail, Plan, WhatIf

PAGES = ("/", "/fleet", "/locations/ams", "/what-if")
JSON = ("/api/v1/plan", "/api/v1/plan/fleet", "/api/v1/plan/locations/ams", "/api/v1/plan/what-if")


# ---- which address answers what ----


@pytest.mark.parametrize("path", PAGES)
async def test_each_page_is_html_and_links_to_no_other_host(path: str) -> None:
    response = await asked(path)

    body = response.body.decode()
    assert (response.status, response.content_type) == (HTTPStatus.OK, "text/html; charset=utf-8")
    assert all(each.startswith(("/", "#")) for each in re.findall(r'(?:href|src)="([^"]*)"', body))
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=", body)


@pytest.mark.parametrize("path", JSON)
async def test_each_document_is_had_as_json_with_its_own_names(path: str) -> None:
    response = await asked(path)

    kind = {JSON[0]: Plan, JSON[3]: WhatIf}.get(path, Detail)
    expected = {JSON[0]: PLAN, JSON[1]: PLAN.fleet, JSON[2]: PLAN.locations["ams"]}.get(path)
    decoded = msgspec.json.decode(response.body, type=kind)
    assert (response.status, response.content_type) == (HTTPStatus.OK, "application/json")
    assert expected is None or decoded == expected


@pytest.mark.parametrize("path", PAGES[:3])
async def test_each_page_links_to_its_json(path: str) -> None:
    address = f"/api/v1/plan{path}".removesuffix("/")

    assert f'<a href="{address}">' in (await asked(path)).body.decode()
    assert (await asked(address)).status is HTTPStatus.OK


@pytest.mark.parametrize(
    "path",
    [
        "/locations/nowhere",
        "/locations/",
        "/locations",
        "/else",
        "/static/0000000000000000/site.css",
        "/static/../site.py",
        "/api/v1/plan/locations/nowhere",
        "/api/v1/plan/else",
    ],
)
async def test_an_address_where_nothing_is_says_so_in_a_sentence(path: str) -> None:
    response = await asked(path)

    is_json = path.startswith("/api/")
    said = json.loads(response.body)["error"] if is_json else text(response)
    assert response.status is HTTPStatus.NOT_FOUND
    assert re.search(r"There is no(thing at this address| such location)", said)


@pytest.mark.parametrize("path", [*PAGES, *JSON, "/nowhere"])
async def test_head_is_answered_as_get_is(path: str) -> None:
    assert await asked(path, method="HEAD") == await asked(path)


async def test_nothing_can_be_written() -> None:
    response = await asked("/what-if", method="POST")

    assert response.status is HTTPStatus.METHOD_NOT_ALLOWED
    assert response.headers["Allow"] == "GET, HEAD"


# ---- headers ----


@pytest.mark.parametrize("path", [*PAGES, *JSON, "/nowhere", "/static/0/x"])
async def test_every_answer_forbids_what_it_does_not_need(path: str) -> None:
    headers = (await asked(path)).headers

    policy = dict(
        each.strip().partition(" ")[::2] for each in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["img-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", [*PAGES[:3], *JSON[:3]])
async def test_who_has_a_page_hears_that_it_has_not_changed(path: str) -> None:
    first = await asked(path)

    again = await asked(path, if_none_match=f'"other", {first.headers["ETag"]}')

    assert first.headers["Cache-Control"] == "private, no-cache"
    assert (again.status, again.body) == (HTTPStatus.NOT_MODIFIED, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


async def test_a_page_of_another_plan_is_another() -> None:
    planner = FixedPlanner(PLAN)
    site = Site(planner)
    first = await site.answer("GET", "/", (), {})
    planner.current = plan_of([bare(unknown("other"))])

    second = await site.answer("GET", "/", (), {"If-None-Match": first.headers["ETag"]})

    assert second.status is HTTPStatus.OK
    assert "other" in text(second)


async def test_what_has_not_changed_is_not_rendered_again() -> None:
    site = Site(FixedPlanner(PLAN))

    first, second = [await site.answer("GET", "/", (), {}) for _ in range(2)]

    assert first is second


async def test_more_pages_than_are_kept_are_still_right() -> None:
    plan = plan_of([bare(unknown(f"place-{number}")) for number in range(70)])
    site = Site(FixedPlanner(plan))

    for _ in range(2):
        for name in plan.locations:
            assert name in text(await site.answer("GET", f"/locations/{name}", (), {}))


@pytest.mark.parametrize("path", [*PAGES, *JSON])
async def test_a_body_is_compressed_for_who_takes_it(path: str) -> None:
    plain, packed = await asked(path), await asked(path, accept_encoding="gzip")

    is_packed = packed.headers.get("Content-Encoding") == "gzip"
    assert (gzip.decompress(packed.body) if is_packed else packed.body) == plain.body
    assert is_packed == (len(plain.body) >= 1400)
    assert packed.headers["Vary"] == "Accept-Encoding"


async def test_style_and_scripts_stand_under_their_content_and_may_be_kept_for_ever() -> None:
    site = Site(FixedPlanner(PLAN))
    page = (await site.answer("GET", "/fleet", (), {})).body.decode()
    addresses = set(re.findall(r'"(/static/[^"]+)"', page))

    for address in addresses:
        plain = await site.answer("GET", address, (), {})
        packed = await site.answer("GET", address, (), {"Accept-Encoding": "gzip"})
        assert plain.status is HTTPStatus.OK
        assert gzip.decompress(packed.body) == plain.body
        assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"

    names = sorted(each.rpartition("/")[2] for each in addresses)
    assert names == ["charts.js", "icon.svg", "plotly.min.js", "site.css"]


async def test_a_page_is_whole_where_the_charting_library_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    page = (await asked("/fleet", FixedPlanner(PLAN))).body.decode()

    assert "<script" not in page
    assert "The history, day by day" in page

"""The planning page of 500 nodes in Debian's Chromium, at a desk and on a phone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # has none
from playwright.async_api import Browser, Page, Route

from tests.collector.plans import FixedPlanner, fleet_plan
from tests.system.page.browser import CHROMIUM, chromium
from tests.system.page.served import served
from trafficd.planning.wording import change, day, rate, share

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")

PLAN = fleet_plan()
# The same pages with fewer rows, for what looks at each element.
SMALL = fleet_plan(locations=20, nodes=40)
DESK, PHONE = (1280, 800), (390, 844)
WHAT_IF = "/what-if?growth=20&lose_location=fra&add=ams:10Gbit"
PATHS = ("/", "/fleet", "/locations/lhr", "/what-if", WHAT_IF)
CHARTED = ("/fleet", "/locations/lhr")
_PATIENCE_SECONDS, _LOOK_SECONDS = 30.0, 0.05

Scheme = Literal["light", "dark"]


@dataclass
class Opened:
    """A site in a browser; *foreign* requests and *complaints* are those of all its pages."""

    address: str
    browser: Browser
    planner: FixedPlanner
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def page(
        self,
        path: str,
        *,
        size: tuple[int, int] = DESK,
        scheme: Scheme = "light",
        script: bool = True,
        is_calm: bool = False,
    ) -> AsyncIterator[Page]:
        """Yield the page at *path*, with its chart drawn if it has one."""
        context = await self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            java_script_enabled=script,
            reduced_motion="reduce" if is_calm else "no-preference",
        )
        await context.route("**/*", self._at_home)
        page = await context.new_page()
        page.on("console", lambda each: self._heard(each.type, each.text))
        page.on("pageerror", lambda each: self.complaints.append(str(each)))
        await page.goto(self.address + path)
        if script and path in CHARTED:
            await page.wait_for_selector("figure[data-drawn]")
        yield page
        await context.close()

    async def _at_home(self, route: Route) -> None:
        if route.request.url.startswith(f"{self.address}/"):
            await route.continue_()
        else:
            self.foreign.append(route.request.url)
            await route.abort()

    def _heard(self, kind: str, text: str) -> None:
        # The charting library warns by a trace.
        if kind in ("error", "warning", "trace", "assert"):
            self.complaints.append(f"{kind}: {text}")


@pytest.fixture
async def site() -> AsyncIterator[Opened]:
    planner = FixedPlanner(PLAN)
    async with served(planner) as address, chromium() as browser:
        yield Opened(address, browser, planner)


async def rows(page: Page, table: str) -> list[str]:
    """Return what stands in the rows of *table*, with single spaces."""
    texts = await page.locator(f"{table} tbody tr").all_text_contents()
    return [" ".join(each.split()) for each in texts]


async def until(page: Page, expression: str) -> None:
    """Wait for *expression*; the page's policy forbids what the browser's driver does for it."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not await page.evaluate(expression):  # noqa: ASYNC110  # it is the browser's
            await asyncio.sleep(_LOOK_SECONDS)


def holds(row: str, told: Sequence[str]) -> bool:
    return all(each in row for each in told)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_no_page_complains_asks_another_host_or_scrolls_sideways(
    site: Opened, size: tuple[int, int]
) -> None:
    for path in PATHS:
        async with site.page(path, size=size) as page:
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width == size[0], path

    assert site.complaints == []
    assert site.foreign == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_nothing_shuts_anybody_out(
    site: Opened, size: tuple[int, int], scheme: Scheme
) -> None:
    site.planner.current = SMALL
    for path in PATHS:
        async with site.page(path, size=size, scheme=scheme) as page:
            if path == "/locations/lhr":
                await page.get_by_text("The history, day by day").click()
            found = await Axe().run(page)
            assert found.violations_count == 0, f"{path}: {found.generate_report()}"


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without"])
async def test_the_ranking_has_every_location_with_its_numbers(site: Opened, script: bool) -> None:
    async with site.page("/", script=script) as page:
        shown = await rows(page, ".ranking")

    assert len(shown) == 40
    for number, (row, each) in enumerate(zip(shown, PLAN.ranking, strict=True), 1):
        assert each.growth is not None
        assert row.startswith(f"{number} {each.name} {each.sentence}")
        assert holds(
            row,
            [
                rate(each.capacity_bits_per_second),
                f"{rate(each.p95_bits_per_second)} {share(each.utilisation)}",
                f"{change(each.growth.low_80)} to {change(each.growth.high_80)}",
                day(each.order_by),
            ],
        )


async def test_without_script_the_tables_hold_the_history_and_the_forecast(site: Opened) -> None:
    detail = PLAN.locations["lhr"]
    async with site.page("/locations/lhr", script=False) as page:
        await page.get_by_text("The forecast, day by day").click()
        await page.get_by_text("The history, day by day").click()
        forecast = await rows(page, "[aria-label='The forecast, day by day'] table")
        history = await rows(page, "[aria-label='The history, day by day'] table")
        still = await page.locator(".chart svg.still polyline").count()

    assert still >= 2
    assert [each.split()[0] for each in history] == [
        day(each.date) for each in reversed(detail.history)
    ]
    for row, band in zip(forecast, detail.forecast, strict=True):
        edges = (band.point, band.low_80, band.high_80, band.low_95, band.high_95)
        assert row == f"{band.date} {' '.join(rate(edge) for edge in edges)}"


async def test_the_chart_draws_what_the_page_says(site: Opened) -> None:
    detail = PLAN.locations["lhr"]
    async with site.page("/locations/lhr") as page:
        drawn = await page.evaluate(
            """() => {
              const plot = document.querySelector(".js-plotly-plot");
              return {
                lines: plot.data.map((each) => [each.name, each.x.length, each.x[0]]),
                marks: plot.layout.annotations.map((each) => each.text),
                last: plot.data.find((each) => each.name === "expected").y.at(-1),
                unit: plot.layout.yaxis.title.text,
              };
            }"""
        )
        label = await page.get_by_role("img").first.get_attribute("aria-label")

    lines = {name: (count, first) for name, count, first in drawn["lines"]}
    assert lines["p95"] == (730, day(detail.history[0].date))
    assert lines["expected"] == lines["80 % from"] == lines["95 % to"] == (365, "2026-11-01")
    assert drawn["marks"] == ["50 %", "70 %", "80 %", "100 %", "order by"]
    assert drawn["unit"] == "Gbit/s"
    assert drawn["last"] == pytest.approx(detail.forecast[-1].point / 1e9)
    assert "Its numbers are in the tables below." in (label or "")


async def test_buttons_choose_what_the_chart_shows(site: Opened) -> None:
    async with site.page("/locations/lhr") as page:
        button = page.get_by_role("button", name="3 months")
        await button.focus()
        await page.keyboard.press("Enter")
        shown = await page.evaluate("document.querySelector('.js-plotly-plot').layout.xaxis.range")
        pressed = await button.get_attribute("aria-pressed")

    assert shown == ["2026-08-01", "2027-01-30"]
    assert pressed == "true"


async def test_the_chart_changes_its_colours_with_the_page(site: Opened) -> None:
    colour = "document.querySelector('.js-plotly-plot').data.at(-1).line.color"
    async with site.page("/fleet") as page:
        light = await page.evaluate(colour)
        await page.emulate_media(color_scheme="dark")
        await until(page, f"{colour} !== '{light}'")
        dark = await page.evaluate(colour)
        own = await page.evaluate(
            "getComputedStyle(document.documentElement).getPropertyValue('--accent').trim()"
        )

    assert light != dark == own
    assert site.complaints == []


async def test_the_keyboard_skips_to_the_content_and_sees_where_it_is(site: Opened) -> None:
    focused = "document.activeElement"
    async with site.page("/") as page:
        await page.keyboard.press("Tab")
        first = await page.evaluate(f"{focused}.className")
        box = await page.locator(".skip").bounding_box()
        outline = await page.evaluate(f"getComputedStyle({focused}).outlineStyle")
        await page.keyboard.press("Enter")
        main = await page.evaluate(f"{focused}.id")
        await page.keyboard.press("Tab")
        then = await page.evaluate(f"{focused}.textContent")

    assert (first, main, then) == ("skip", "content", "Fleet")
    assert box is not None
    assert box["x"] >= 0
    assert outline == "solid"


async def test_on_a_phone_a_table_scrolls_within_itself_by_keyboard(site: Opened) -> None:
    async with site.page("/", size=PHONE, is_calm=True) as page:
        region = page.get_by_role("region", name="Locations, the most urgent first").last
        await region.focus()
        await page.keyboard.press("ArrowRight")
        await until(page, "document.activeElement.scrollLeft > 0")

        assert await page.evaluate("window.scrollX") == 0


async def test_who_wants_no_motion_gets_none(site: Opened) -> None:
    moving = "getComputedStyle(document.querySelector('.top nav a')).transitionDuration"
    async with site.page("/") as page:
        usual = await page.evaluate(moving)
    async with site.page("/", is_calm=True) as page:
        calm = await page.evaluate(moving)

    assert (usual, calm) == ("0.12s, 0.12s", "0s")


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without"])
async def test_the_form_supposes_more_and_less(site: Opened, script: bool) -> None:
    async with site.page("/what-if", script=script) as page:
        await page.get_by_label("Percent a year").fill("20")
        group = page.get_by_role("group", name="Something is lost")
        await group.get_by_label("Location").select_option("fra")
        group = page.get_by_role("group", name="Capacity is added")
        await group.get_by_label("In").select_option("ams")
        await group.get_by_label("Gbit/s").fill("10")
        await page.get_by_role("button", name="See the ranking").click()
        await page.get_by_role("heading", name="As it would be").wait_for()
        shown = await rows(page, ".what-if")
        await page.get_by_label("lose_location=fra").uncheck()
        await page.get_by_role("button", name="See the ranking").click()
        await page.get_by_label("lose_location=fra").wait_for(state="detached")
        kept = await page.get_by_label("add=ams:10Gbit").is_checked()

    assert site.planner.asked == [
        [("growth", "20"), ("lose_location", "fra"), ("add", "ams:10Gbit")],
        [("add", "ams:10Gbit"), ("growth", "20")],
    ]
    assert [row.split()[0] for row in shown] == [each.name for each in reversed(PLAN.ranking)]
    assert kept


async def test_a_page_without_a_plan_looks_again_until_there_is_one(site: Opened) -> None:
    site.planner.current = None
    async with site.page("/", script=False) as page:
        before = await page.get_by_role("heading", level=1).text_content()
        site.planner.current = PLAN
        await page.locator(".ranking").wait_for()

    assert before == "One moment"


async def test_head_has_the_length_of_what_it_does_not_send(site: Opened) -> None:
    async with aiohttp.ClientSession(site.address) as session:
        async with session.head("/") as head, session.get("/") as got:
            body, whole = await head.read(), await got.read()
            length = head.headers["Content-Length"]
        async with session.get("/", headers={"If-None-Match": got.headers["ETag"]}) as again:
            status, unchanged = again.status, await again.read()

    assert body == b""
    assert 0 < int(length) <= len(whole)
    assert (status, unchanged) == (304, b"")

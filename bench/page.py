"""The planning page of a fleet in a browser that has never seen it: how soon there is a picture."""

import asyncio
import statistics
from collections.abc import Iterator

import msgspec

from bench.laboratory import Laboratory, MissingToolError
from bench.table import Row
from tests.collector.plans import FixedPlanner, fleet_plan
from tests.system.page.browser import CHROMIUM, chromium
from tests.system.page.served import served

NODES, LOCATIONS = 500, 40
MOST_MILLISECONDS = 300.0
_VIEWS = 7
# Paint Timing, 4: https://www.w3.org/TR/paint-timing/#first-contentful-paint
_FIRST_PAINT = """
() => new Promise((resolve) => {
  new PerformanceObserver((list) => {
    for (const each of list.getEntries()) {
      if (each.name === "first-contentful-paint") resolve(each.startTime);
    }
  }).observe({ type: "paint", buffered: true });
})
"""


def measure(_: Laboratory) -> Iterator[Row]:
    """Yield the rows of the ranking's first view, and of that of the fleet's page."""
    if not CHROMIUM.exists():
        raise MissingToolError(f"{CHROMIUM} is not there")
    ranking, fleet = asyncio.run(_first_views())
    yield Row.held(
        f"first view of the ranking, {NODES} nodes and two years, rendered for it",
        f"{ranking:.0f} ms",
        f"<= {MOST_MILLISECONDS:.0f} ms",
        is_held=ranking <= MOST_MILLISECONDS,
    )
    yield Row.reported("first view of the fleet's page, rendered for it", f"{fleet:.0f} ms")


async def _first_views() -> tuple[float, float]:
    planner = FixedPlanner(None)
    plan = fleet_plan(locations=LOCATIONS, nodes=NODES)
    medians = []
    async with served(planner) as address, chromium() as browser:
        for path in ("/", "/fleet"):
            views = []
            for _ in range(_VIEWS):
                # Another plan each time: nothing of it has been rendered before.
                planner.current = msgspec.structs.replace(plan)
                context = await browser.new_context(viewport={"width": 1280, "height": 800})
                page = await context.new_page()
                await page.goto(address + path, wait_until="commit")
                views.append(float(await page.evaluate(_FIRST_PAINT)))
                await context.close()
            medians.append(statistics.median(views))
    ranking, fleet = medians
    return ranking, fleet

"""Takes the picture that opens the README: `python -m tests.system.page.picture FILE`."""

import asyncio
import sys

from tests.collector.plans import FixedPlanner, fleet_plan
from tests.system.page.browser import chromium
from tests.system.page.served import served

WIDTH, HEIGHT = 1280, 860


async def take(file: str) -> None:
    """Write the ranking of a made-up fleet, as a desktop shows it, to *file*."""
    plan = fleet_plan(locations=7, nodes=64, seed=11)
    async with served(FixedPlanner(plan)) as address, chromium() as browser:
        page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        await page.goto(f"{address}/", wait_until="networkidle")
        await page.screenshot(path=file)


if __name__ == "__main__":
    asyncio.run(take(sys.argv[1]))

"""Asks a site for a page without HTTP, and reads what is on it."""

import html
import re
from collections.abc import Sequence
from typing import Any

from tests.collector.plans import FixedPlanner, fleet_plan
from trafficd.collector.site import Response, Site
from trafficd.planning.document import Plan

PLAN = fleet_plan(locations=3, nodes=7)
USED: dict[str, Any] = {
    "capacity_bits_per_second": 10e9,
    "p95_bits_per_second": 5e9,
    "mean_bits_per_second": 3e9,
    "utilisation": 0.5,
    "sentence": "50 % of 10.0 Gbit/s now.",
}
_SITE = Site(FixedPlanner(PLAN))


async def asked(
    path: str,
    planner: FixedPlanner | Plan | None = PLAN,
    *,
    query: Sequence[tuple[str, str]] = (),
    method: str = "GET",
    **headers: str,
) -> Response:
    fixed = planner if isinstance(planner, FixedPlanner) else FixedPlanner(planner)
    site = _SITE if planner is PLAN else Site(fixed)
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return await site.answer(method, path, query, named)


def text(response: Response) -> str:
    """Return what can be read on a page, with single spaces."""
    body = re.sub(r"<svg.*?</svg>", " ", response.body.decode(), flags=re.DOTALL)
    body = re.sub(r"</?time[^>]*>", "", body)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))

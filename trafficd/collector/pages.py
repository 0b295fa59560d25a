"""Pages as HTML: the documents of a plan put into templates, every value escaped."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from trafficd.collector.assets import Assets
from trafficd.collector.drawing import draw, span_of
from trafficd.planning import wording
from trafficd.planning.document import Crossing, Detail, Plan, Summary, WhatIf

API, LOCATIONS = "/api/v1/plan", "/locations/"
_TEMPLATES = Path(__file__).parent / "templates"
_NAMES = ("ranking.html", "place.html", "what_if.html", "message.html")
# What is due within this many days is said to be: plans are looked at once a month.
_SOON_DAYS = 30
_DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")


class Pages:
    """Renders; what it returns depends on nothing but what it is given."""

    def __init__(self, assets: Assets) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(
            assets=assets,
            location_path=location_path,
            ordered_at=_ordered_at,
            urgency=_urgency,
            level=_level,
        )
        for each in (wording.rate, wording.share, wording.change, wording.day, _plural, _dated):
            self._environment.filters[each.__name__.lstrip("_")] = each
        # The first to ask need not wait until they are compiled.
        self._templates = {name: self._environment.get_template(name) for name in _NAMES}

    def ranking(self, plan: Plan) -> str:
        """Return the page of all locations, the most urgent first."""
        details = {each.name: plan.locations.get(each.name) for each in plan.ranking}
        span = span_of(each for each in details.values() if each)
        drawings = {
            name: draw(detail, span, thresholds=(plan.order_at, 1.0), weeks_a_point=3)
            for name, detail in details.items()
            if detail and span
        }
        return self._render("ranking.html", here="/", plan=plan, drawings=drawings, json=API)

    def place(self, plan: Plan, detail: Detail) -> str:
        """Return the page of the fleet or of a location."""
        span = span_of([detail])
        return self._render(
            "place.html",
            here=_path(detail.summary),
            plan=plan,
            detail=detail,
            drawing=span and draw(detail, span, thresholds=plan.thresholds),
            json=f"{API}{_path(detail.summary)}",
        )

    def what_if(
        self, plan: Plan, supposed: Sequence[tuple[str, str]], result: WhatIf | None, mistake: str
    ) -> str:
        """Return the form, with the *result* of what is *supposed*, or with the *mistake* in it."""
        before = {each.name: each for each in result.before} if result else {}
        return self._render(
            "what_if.html",
            here="/what-if",
            plan=plan,
            supposed=supposed,
            growth_percent=next((value for kind, value in supposed if kind == "growth"), ""),
            result=result,
            before=before,
            gone=[each for each in before.values() if each.name not in _names(result)],
            mistake=mistake,
            json=f"{API}/what-if?{urlencode(supposed)}" if supposed else "",
        )

    def message(self, title: str, sentence: str, *, again_seconds: int = 0) -> str:
        """Return a page that says one thing, and asks again after *again_seconds* if not 0."""
        return self._render(
            "message.html",
            here="",
            plan=None,
            title=title,
            sentence=sentence,
            again_seconds=again_seconds,
            json="",
        )

    def _render(self, template: str, **values: object) -> str:
        return self._templates[template].render(**values)


def location_path(name: str) -> str:
    """Return the address of a location's page."""
    return f"{LOCATIONS}{quote(name, safe='')}"


def _path(summary: Summary) -> str:
    return "/fleet" if summary.level == "fleet" else location_path(summary.name)


def _ordered_at(summary: Summary, plan: Plan) -> Crossing | None:
    """Return the crossing of the threshold that is ordered at."""
    return next((each for each in summary.crossings if each.threshold == plan.order_at), None)


def _urgency(order_by: date | None, plan: Plan) -> str:
    """Return "now" or "soon", or nothing where there is time or no date."""
    if order_by is None or plan.as_of is None:
        return ""
    if order_by <= plan.as_of:
        return "now"
    return "soon" if order_by <= plan.as_of + timedelta(days=_SOON_DAYS) else ""


def _level(utilisation: float, plan: Plan) -> str:
    """Return how full that is: "high" from the threshold that is ordered at, "mid" one below."""
    if utilisation >= plan.order_at:
        return "high"
    below = [each for each in plan.thresholds if each < plan.order_at]
    return "mid" if below and utilisation >= max(below) else "low"


def _names(result: WhatIf | None) -> set[str]:
    return {each.name for each in result.after} if result else set()


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _dated(words: str) -> Markup:
    """Return *words*, escaped, with the dates in them marked, so that none is broken in two."""
    marked = _DATE.sub(r"<time>\g<0></time>", str(escape(words)))
    return Markup(marked)  # noqa: S704  # escaped above

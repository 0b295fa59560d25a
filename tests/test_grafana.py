"""config/grafana: the dashboards are what their code makes, and keep the rules of dashboards.

Those of grafana/dashboard-linter, said anew, for every kind of panel. These of its are not kept:

- template-job, template-instance, target-job, target-instance: what is pushed has neither label, so
  a matcher on them would hide it. `location` is ours, in every selector, and a variable of each
  dashboard; all locations at once are a choice of the fleet's alone.
- target-rate-interval: it is about rate() and irate(), and totals that move once a window have no
  use of a rate over $__rate_interval. Neither function is used; increase() goes over whole days.
- target-logql, target-logql-auto: there are no logs here.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "config" / "grafana"
NAMES = ("fleet", "location")
UNITS = {"none", "bps", "decbytes", "percentunit", "d", "dateTimeAsIso", "dtdurations"}
SELECTOR = re.compile(r"[a-z_:]*trafficd_[a-z0-9_:]+(\{[^}]*\})?")
COUNTER = re.compile(r"(\w+)\((?:[a-z_:]*trafficd_\w+_(?:total|bucket|count))\{[^}]*\}(\[\w+\])?")

Json = dict[str, Any]


def committed(name: str) -> Json:
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


def panels() -> Iterator[Any]:
    for name in NAMES:
        for panel in committed(name)["panels"]:
            yield pytest.param(panel, id=f"{name}: {panel['title']}")


def expressions() -> list[str]:
    return [
        target["expr"]
        for name in NAMES
        for panel in committed(name)["panels"]
        for target in panel["targets"]
    ]


def test_the_committed_dashboards_are_what_the_code_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FOLDER / "dashboards.py", tmp_path], check=True, timeout=60)

    for name in NAMES:
        made = (tmp_path / f"{name}.json").read_bytes()
        assert made == (FOLDER / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_read_only_in_utc_and_shows_a_quarter(name: str) -> None:
    found = committed(name)

    assert found["uid"] == f"trafficd-{name}"
    assert found["title"]
    assert found["description"]
    assert found["editable"] is False
    assert found["timezone"] == "utc"
    assert found["time"] == {"from": "now-90d", "to": "now"}
    assert found["refresh"] == "5m"


@pytest.mark.parametrize("name", NAMES)
def test_the_source_of_data_is_chosen_on_the_dashboard(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text()

    variables = {each["name"]: each for each in committed(name)["templating"]["list"]}
    source = variables["datasource"]
    assert (source["type"], source["query"], source["label"]) == (
        "datasource",
        "prometheus",
        "Data source",
    )
    # No source of somebody's own.
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${datasource}", f"trafficd-{name}"}


@pytest.mark.parametrize("name", NAMES)
def test_the_location_is_chosen_among_those_that_there_are(name: str) -> None:
    variables = {each["name"]: each for each in committed(name)["templating"]["list"]}
    assert list(variables) == ["datasource", "location"]
    location = variables["location"]

    assert location["label"] == "Location"
    assert location["type"] == "query"
    assert location["datasource"]["uid"] == "${datasource}"
    assert re.fullmatch(r"label_values\([a-z_]+, location\)", location["query"])
    # When the range of time changes.
    assert location["refresh"] == 2
    assert location["multi"] == location["includeAll"] == (name == "fleet")
    assert location.get("allValue") == (".+" if name == "fleet" else None)


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_numbers_and_places_of_their_own(name: str) -> None:
    found = committed(name)["panels"]
    places: list[tuple[int, int]] = []
    for panel in found:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        places += [
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]

    assert len({panel["id"] for panel in found}) == len(found)
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("panel", list(panels()))
def test_a_panel_says_what_it_is_in_a_unit(panel: Json) -> None:
    assert panel["title"]
    assert re.fullmatch(r"[A-Z].*\.", panel["description"])
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    config = panel["fieldConfig"]
    units = [
        each["value"]
        for override in config["overrides"]
        for each in override["properties"]
        if each["id"] == "unit"
    ]
    assert {config["defaults"]["unit"], *units} <= UNITS
    # In a table, every column of numbers has its own.
    assert len(units) == (len(panel["targets"]) if panel["type"] == "table" else 0)


@pytest.mark.parametrize("panel", list(panels()))
def test_a_panel_asks_for_days_or_for_an_instant(panel: Json) -> None:
    assert panel["targets"]
    is_over_time = panel["type"] in ("timeseries", "heatmap")
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert target["instant"] is not is_over_time
        assert target["range"] is is_over_time
        assert target.get("interval") == ("1d" if is_over_time else None)
    assert panel.get("interval") == ("1d" if is_over_time else None)
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_an_expression_is_of_the_chosen_locations_and_takes_counters_as_such(
    expression: str,
) -> None:
    for each in SELECTOR.finditer(expression):
        assert 'location=~"$location"' in (each[1] or ""), each[0]
    counters = COUNTER.findall(expression)
    assert len(re.findall(r"_(?:total|bucket|count)\{", expression)) == len(counters)
    for function, days in counters:
        assert function == "increase"
        assert days in ("[1d]", "[30d]")
    assert not re.search(r"\b(?:i?rate|i?delta|deriv|predict_linear)\b", expression)
    assert "$__" not in expression


def test_recorded_series_that_are_asked_for_are_recorded() -> None:
    rules = "".join(
        (FOLDER.parent / "prometheus" / name).read_text() for name in ("rules.yml", "commits.yml")
    )
    recorded = set(re.findall(r"record: (\S+)", rules))

    asked = set(re.findall(r"\b(?:node|location|fleet):[a-z0-9_:]+", " ".join(expressions())))
    assert asked <= recorded
    assert asked


def test_marks_are_those_that_alerts_are_raised_at() -> None:
    alerts = (FOLDER.parent / "prometheus" / "alerts.yml").read_text()
    text = " ".join(expressions())

    assert set(re.findall(r'threshold="([^"]+)"', text)) == set(
        re.findall(r'threshold="([^"]+)"', alerts)
    )
    late = re.search(r"expr: node:trafficd_release_age_seconds:max > (\d+)", alerts)
    assert late
    assert set(re.findall(r"> (?:bool )?([1-9]\d*)", text)) == {late[1]}

"""Writes fleet.json and location.json, the dashboards for Grafana, beside this file.

``python config/grafana/dashboards.py [DIRECTORY]``. Totals move at grid points only, so what is
drawn over time has a value a UTC day, drawn where the day ends.
"""

# ruff: noqa: INP001  # A program, and no part of the package.

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    VariableRefresh,
    VariableSort,
)
from panels import (
    FILLS,
    HALF,
    MUST_BE_NONE,
    PLAIN,
    RUNS_OUT,
    SOURCE,
    WHOLE,
    Columns,
    Panel,
    bars,
    by_utilisation,
    dashed,
    gauges,
    lines,
    number,
)
from queries import (
    AGE,
    BOTH_WAYS,
    CAPACITY,
    CLASSES,
    COMMIT,
    DAYS_TO_ORDER,
    FILLED,
    FILLED_AT_ANY,
    HERE_ONLY,
    LATE_SECONDS,
    ORDER_BY,
    ORDER_BY_AT_ANY,
    P95,
    RECORDED_P95,
    grown,
    last,
    mean,
)

DAY_ENDS = "A value stands where its UTC day ends."
LOCATION_UID = "trafficd-location"


def fleet() -> dashboard.Dashboard:
    """Return the dashboard of all locations."""
    board = new_dashboard(
        "trafficd-fleet",
        "trafficd: fleet",
        "What the VPN servers of all locations move, and which to expand next. Totals only.",
        many=True,
    )
    panels = (
        number(
            "Moved in the last day",
            "Bytes of the uplinks, both directions together.",
            "decbytes",
            f"sum({BOTH_WAYS})",
            PLAIN,
        ),
        number(
            "Capacity",
            "Stated capacity of all uplinks together.",
            "bps",
            f"sum({CAPACITY})",
            PLAIN,
            "none stated",
        ),
        number(
            "Fullest location",
            "The largest p95 of 30 days of any location, of its capacity.",
            "percentunit",
            f"max({P95} / on (location) {CAPACITY})",
            FILLS,
        ),
        number(
            "Nodes",
            "Nodes heard of in the last week.",
            "none",
            f"count({AGE})",
            PLAIN,
        ),
        number(
            "Nodes late",
            "Nodes of which two releases or more are missing. They count on, and send them later.",
            "none",
            f"sum({AGE} > bool {LATE_SECONDS})",
            MUST_BE_NONE,
        ),
        number(
            "Days to the next order",
            "Until capacity has to be ordered somewhere, to be there before 80 % may be reached; "
            "below 0, it is overdue. None where history carries no date.",
            "d",
            f"min({DAYS_TO_ORDER})",
            RUNS_OUT,
            "none told",
        ),
        Columns("location")
        .add("p95 of 30 days", "bps", P95)
        .add("Capacity", "bps", CAPACITY)
        .add("p95 of capacity", "percentunit", f"{P95} / on (location) {CAPACITY}", FILLS)
        .add("Grown in 30 days", "percentunit", grown())
        .add("80 % not before", "dateTimeAsIso", f"{FILLED} * 1000")
        .add("Order by", "dateTimeAsIso", f"{ORDER_BY} * 1000")
        .add("Days to order", "d", DAYS_TO_ORDER, RUNS_OUT)
        .sorted_by("p95 of capacity", descending=True)
        .linked(
            "Location",
            f"/d/{LOCATION_UID}?${{datasource:queryparam}}&var-location=${{__value.text}}",
        )
        .panel(
            "Ranking: what to expand next",
            "The fullest location first; a click on a heading sorts by it, on a location opens it. "
            "Grown is what was moved in the last 30 days, against the 30 before.",
        ),
        gauges(
            "Uplinks: p95 of capacity",
            "The 95th percentile of 30 days in the busier direction, of the capacity.",
            "percentunit",
            f"{P95} / on (location) {CAPACITY}",
            FILLS,
        ).max(1),
        gauges(
            "Days to order by",
            "Until what takes the configured lead time has to be ordered; locations without a date "
            "are left out.",
            "d",
            DAYS_TO_ORDER,
            RUNS_OUT,
        ),
        bars(
            "Moved per day, by location",
            f"Bytes of the uplinks, both directions together. {DAY_ENDS}",
            "decbytes",
            {"{{location}}": BOTH_WAYS},
        ),
        lines(
            "p95 of capacity, by location",
            f"The 95th percentile of the 30 days before, in the busier direction. {DAY_ENDS}",
            "percentunit",
            {"{{location}}": f"{RECORDED_P95} / on (location) {CAPACITY}"},
        ),
        bars(
            "Class mix",
            f"Bytes of the tunnels per day by class, both directions together. {DAY_ENDS}",
            "decbytes",
            {"{{class}}": CLASSES},
        ),
        Columns("node", "location")
        .add("Waiting for", "dtdurations", f"max by (node, location) ({AGE}) > {LATE_SECONDS}")
        .sorted_by("Waiting for", descending=True)
        .panel(
            "Nodes that are late",
            "How old the newest release is where two or more are missing.",
            width=HALF,
        ),
    )
    return filled(board, panels)


def location() -> dashboard.Dashboard:
    """Return the dashboard of one location."""
    board = new_dashboard(
        LOCATION_UID,
        "trafficd: location",
        "What the VPN servers of a location move, and when its uplinks are full. Totals only.",
        many=False,
    )
    uplink = "trafficd_uplink_bits_per_second"
    panels = (
        number("p95 of 30 days", "In the busier direction.", "bps", P95, PLAIN),
        number(
            "Capacity",
            "Stated capacity of the location's uplinks together.",
            "bps",
            CAPACITY,
            PLAIN,
            "none stated",
        ),
        number(
            "p95 of capacity",
            "The 95th percentile of 30 days, of the capacity.",
            "percentunit",
            f"{P95} / on (location) {CAPACITY}",
            FILLS,
        ),
        number(
            "80 % not before",
            "The early edge of the window in which 80 % of the capacity is reached. None where it "
            "is reached already, or history carries no date.",
            "dateTimeAsIso",
            f"{FILLED} * 1000",
            PLAIN,
            "none told",
        ),
        number(
            "Order by",
            "The last day to order what takes the configured lead time to come.",
            "dateTimeAsIso",
            f"{ORDER_BY} * 1000",
            PLAIN,
            "none told",
        ),
        number(
            "Nodes late",
            "Nodes of which two releases or more are missing. They count on, and send them later.",
            "none",
            f"sum({AGE} > bool {LATE_SECONDS})",
            MUST_BE_NONE,
        ),
        dashed(
            lines(
                "Uplinks together",
                "Mean of each day, and p95 of the 30 days before it: of the sums of all nodes in "
                f"each hour, and at the most, the sum of the nodes' own. {DAY_ENDS}",
                "bps",
                {
                    "mean receive": mean("receive", "location"),
                    "mean transmit": mean("transmit", "location"),
                    "p95 {{direction}}": last(f"location:{uplink}:p95_30d"),
                    "p95 {{direction}} at the most": last(f"location:{uplink}:sum_p95_30d"),
                    "capacity": CAPACITY,
                    "commit": COMMIT,
                },
                width=WHOLE,
            ),
            "capacity",
            "commit",
        ),
        lines(
            "p95 by node",
            "Of the 5-minute slots of the 30 days before, in the busier direction, to the width of "
            f"a bucket of the histogram. {DAY_ENDS}",
            "bps",
            {"{{node}}": f"max by (node) ({last(f'node:{uplink}:p95_30d')})"},
        ),
        lines(
            "Mean by node",
            f"Mean of each day, the larger of both directions. {DAY_ENDS}",
            "bps",
            {
                "{{node}}": f"{mean('receive', 'node')} > {mean('transmit', 'node')} "
                f"or {mean('transmit', 'node')}"
            },
        ),
        by_utilisation("receive"),
        by_utilisation("transmit"),
        bars(
            "Class mix",
            f"Bytes of the tunnels per day by class, both directions together. {DAY_ENDS}",
            "decbytes",
            {"{{class}}": CLASSES},
        ),
        Columns("location", "threshold")
        .add(
            "Not before",
            "dateTimeAsIso",
            f"{FILLED_AT_ANY} * 1000",
        )
        .add(
            "Order by",
            "dateTimeAsIso",
            f"{ORDER_BY_AT_ANY} * 1000",
        )
        .sorted_by("Threshold", descending=False)
        .panel(
            "Planner",
            "When parts of the capacity are reached: one day in ten comes before the early edge. A "
            "part without a date is not listed; the collector's page says why.",
            width=HALF,
        ),
        Columns("node")
        .add(
            "Last release",
            "dateTimeAsIso",
            f"max by (node) (node:trafficd_release_timestamp_seconds:max{{{HERE_ONLY}}}) * 1000",
        )
        .add("Waiting for", "dtdurations", f"max by (node) ({AGE})")
        .add(
            "p95 of capacity",
            "percentunit",
            f"max by (node) ({last('node:trafficd_uplink_utilisation_ratio:p95_30d')})",
            FILLS,
        )
        .add(
            "Capacity",
            "bps",
            f"max by (node) ({last('node:trafficd_uplink_capacity_bits_per_second:max')})",
        )
        .add("Mean receive", "bps", mean("receive", "node"))
        .add("Mean transmit", "bps", mean("transmit", "node"))
        .add(
            "Slots seen, of 8640",
            "none",
            f"min by (node) ({last('node:trafficd_uplink_utilisation_slots:increase30d')})",
        )
        .sorted_by("p95 of capacity", descending=True)
        .panel(
            "Nodes",
            "Each node's last release, its p95 of 30 days and how much of them it is made of, and "
            "its means of the last day.",
        ),
    )
    return filled(board, panels)


def filled(board: dashboard.Dashboard, panels: Iterable[Panel]) -> dashboard.Dashboard:
    """Return *board* with *panels*, numbered."""
    for place, panel in enumerate(panels, start=1):
        board.with_panel(panel.id(place))
    return board


def new_dashboard(uid: str, title: str, description: str, *, many: bool) -> dashboard.Dashboard:
    """Return a dashboard without panels; *many* locations can be chosen at once, or one."""
    location = (
        dashboard.QueryVariable("location")
        .label("Location")
        .datasource(SOURCE)
        .query("label_values(trafficd_uplink_receive_bytes_total, location)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(many)
        .include_all(many)
    )
    if many:
        location = location.all_value(".+")
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["trafficd"])
        .readonly()
        .timezone("utc")
        .time("now-90d", "now")
        .refresh("5m")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(location)
    )


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, board in {"fleet": fleet(), "location": location()}.items():
        text = json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True)
        (folder / f"{name}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main()

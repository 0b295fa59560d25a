"""How the dashboards show what they ask: what panels of a kind have in common."""

# ruff: noqa: INP001  # Read by dashboards.py beside it, a program.

from collections.abc import Mapping, Sequence
from typing import Self, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    LineStyle,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from queries import slots

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
# Of 24 columns.
WHOLE, HALF, SIXTH = 24, 12, 4
LOW, HIGH = 4, 9

GREEN, ORANGE, RED = "green", "orange", "red"
Steps = Sequence[tuple[float | None, str]]
FILLS: Steps = [(None, GREEN), (0.7, ORANGE), (0.8, RED)]
RUNS_OUT: Steps = [(None, RED), (0, ORANGE), (14, GREEN)]
MUST_BE_NONE: Steps = [(None, GREEN), (1, RED)]
PLAIN: Steps = [(None, "text")]

Panel = stat.Panel | timeseries.Panel | bargauge.Panel | heatmap.Panel | table.Panel
P = TypeVar("P", stat.Panel, timeseries.Panel, bargauge.Panel, heatmap.Panel, table.Panel)


def query(expression: str, legend: str = "", *, name: str = "A") -> prometheus.Dataquery:
    """Return a query with a value for each day."""
    made = prometheus.Dataquery().expr(expression).ref_id(name).datasource(SOURCE)
    return made.range().interval("1d").legend_format(legend or "__auto")


def now(expression: str, legend: str = "", *, name: str = "A") -> prometheus.Dataquery:
    """Return a query for the end of the time that is shown."""
    made = prometheus.Dataquery().expr(expression).ref_id(name).datasource(SOURCE)
    return made.instant().legend_format(legend or "__auto")


def dressed(
    panel: P, title: str, description: str, unit: str, *, width: int, height: int = HIGH
) -> P:
    """Return *panel* with what each has."""
    panel = panel.title(title).description(description).datasource(SOURCE).unit(unit)
    return panel.span(width).height(height)


def steps(of: Steps) -> dashboard.ThresholdsConfig:
    """Return thresholds at which the colour changes."""
    made = [Threshold(value=value, color=color) for value, color in of]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def number(
    title: str, description: str, unit: str, expression: str, colors: Steps, none: str = "none"
) -> stat.Panel:
    """Return a panel with one number; *none* is said where there is none."""
    panel = stat.Panel().color_mode(BigValueColorMode.VALUE).graph_mode(BigValueGraphMode.NONE)
    panel = panel.thresholds(steps(colors)).no_value(none).with_target(now(expression))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return dressed(panel, title, description, unit, width=SIXTH, height=LOW)


def lines(
    title: str, description: str, unit: str, queries: Mapping[str, str], *, width: int = HALF
) -> timeseries.Panel:
    """Return a panel with a line for each series of *queries*, by their legends."""
    panel = timeseries.Panel().interval("1d").line_width(2).fill_opacity(0).min(0)
    panel = panel.show_points(VisibilityMode.NEVER)
    panel = panel.legend(
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
        .show_legend(True)
    )
    panel = panel.tooltip(
        common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    )
    for place, (legend, expression) in enumerate(queries.items()):
        panel.with_target(query(expression, legend, name=chr(ord("A") + place)))
    return dressed(panel, title, description, unit, width=width)


def bars(
    title: str, description: str, unit: str, queries: Mapping[str, str], *, width: int = HALF
) -> timeseries.Panel:
    """Return a panel with a stack of bars for each day."""
    panel = lines(title, description, unit, queries, width=width)
    return (
        panel.draw_style(GraphDrawStyle.BARS)
        .fill_opacity(70)
        .line_width(0)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    )


def dashed(panel: timeseries.Panel, *legends: str) -> timeseries.Panel:
    """Return *panel* with these lines as marks, in grey."""
    style = LineStyle(fill="dash", dash=[10, 10])
    for legend in legends:
        panel = panel.override_by_name(
            legend,
            [
                DynamicConfigValue("custom.lineStyle", style),
                DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "text"}),
            ],
        )
    return panel


def gauges(
    title: str, description: str, unit: str, expression: str, colors: Steps
) -> bargauge.Panel:
    """Return a panel with a bar for each location."""
    panel = bargauge.Panel().orientation(VizOrientation.HORIZONTAL).no_value("none").min(0)
    panel = panel.thresholds(steps(colors)).with_target(now(expression, "{{location}}"))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    return dressed(panel, title, description, unit, width=HALF)


def by_utilisation(direction: str) -> heatmap.Panel:
    """Return a panel with the slots of each day by utilisation."""
    panel = heatmap.Panel().interval("1d").calculate(False).cell_gap(1).show_legend()
    panel = panel.color(
        heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    )
    panel = panel.y_axis(heatmap.YAxisConfig().unit("percentunit"))
    panel = panel.with_target(query(slots(direction), "{{le}}").format(PromQueryFormat.HEATMAP))
    said = (
        "How many 5-minute slots of a UTC day the uplinks spent at which utilisation, all nodes "
        "together. The order of the slots within a day is not known to anybody."
    )
    title = f"Slots by utilisation, {direction}"
    return dressed(panel, title, said, "none", width=HALF)


class Columns:
    """A table with a row for each set of labels, and a column for each query."""

    def __init__(self, *labels: str) -> None:
        self._panel = table.Panel().no_value("none")
        self._names = {label: label.capitalize() for label in labels}
        self._hidden = {"Time": True}
        self._count = 0

    def add(self, heading: str, unit: str, expression: str, colors: Steps = PLAIN) -> Self:
        """Return it with one more column."""
        name = chr(ord("A") + self._count)
        self._count += 1
        self._names[f"Value #{name}"] = heading
        self._panel.with_target(now(expression, name=name).format(PromQueryFormat.TABLE))
        values = [DynamicConfigValue("unit", unit)]
        if colors is not PLAIN:
            values += [
                DynamicConfigValue("thresholds", steps(colors).build()),
                DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        self._panel.override_by_name(heading, values)
        return self

    def sorted_by(self, heading: str, *, descending: bool) -> Self:
        """Return it with its rows in that order."""
        field = common.TableSortByFieldState().display_name(heading).desc(descending)
        self._panel.sort_by([field])
        return self

    def linked(self, heading: str, url: str) -> Self:
        """Return it with cells that lead to *url*."""
        link = {"title": "Open the location", "url": url}
        self._panel.override_by_name(heading, [DynamicConfigValue("links", [link])])
        return self

    def panel(self, title: str, description: str, *, width: int = WHOLE) -> table.Panel:
        """Return the panel."""
        order = {name: place for place, name in enumerate(self._names)}
        arranged = {
            "excludeByName": self._hidden,
            "indexByName": order,
            "renameByName": self._names | ({"Value": self._names["Value #A"]}),
        }
        self._panel.with_transformation(DataTransformerConfig("merge", options={}))
        self._panel.with_transformation(DataTransformerConfig("organize", options=arranged))
        return dressed(self._panel, title, description, "none", width=width)

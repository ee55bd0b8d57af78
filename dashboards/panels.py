"""The kinds of panel that the dashboards use."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import (
    common,
    heatmap,
    nodegraph,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    HeatmapCellLayout,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED, GREY = "green", "yellow", "red", "#8e8e8e"

Panel = Builder[models.Panel]


class Query(NamedTuple):
    """One PromQL expression. `legend` names its series by their labels: `{{service}}`."""

    expr: str
    legend: str
    exemplars: bool = False


class Column(NamedTuple):
    """One column of a table."""

    name: str
    expr: str
    unit: str


# Grafana's name of a unit -> label of the axis
AXES = {
    "s": "seconds",
    "reqps": "requests per second",
    "cps": "per second",
    "percentunit": "share",
    "bytes": "bytes",
    "Bps": "bytes per second",
    "short": "count",
    "cores": "cores",
    "burn": "times the budget",
}
UNITS = {"cores": "short", "burn": "short"}  # Grafana has no name for these


def graph(
    title: str,
    about: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    limit: float | None = None,
    span: int = 12,
) -> Panel:
    """Lines over time; `limit` is drawn as a dashed line."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(span)
        .height(8)
        .unit(UNITS.get(unit, unit))
        .axis_label(AXES[unit])
        .axis_placement(AxisPlacement.LEFT)
        .axis_soft_min(0)
        .draw_style(GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(30 if stacked else 5)
        .show_points(VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(_tooltip())
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if limit is not None:
        style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds((limit, RED))).thresholds_style(style)
    for index, query in enumerate(queries):
        panel = panel.with_target(_target(query, chr(ord("A") + index)))
    return panel


def number(
    title: str, about: str, unit: str, expr: str, *limits: tuple[float, str], legend: str = ""
) -> Panel:
    """The current value in large type, in the colour of the highest of `limits` that it has reached."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(4)
        .height(4)
        .unit(UNITS.get(unit, unit))
        .thresholds(_thresholds(*limits))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(Query(expr, legend), "A"))
    )


def states(
    title: str,
    about: str,
    query: Query,
    words: Mapping[int, tuple[str, str]],
    *,
    span: int = 24,
    height: int = 8,
) -> Panel:
    """A coloured band per series. `words` maps each value to its word and colour."""
    mapping = models.ValueMap(
        {
            str(value): models.ValueMappingResult(text=word, color=colour, index=index)
            for index, (value, (word, colour)) in enumerate(words.items())
        }
    )
    return (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(span)
        .height(height)
        .mappings([mapping])
        .merge_values(True)
        .show_value(VisibilityMode.AUTO)
        .row_height(0.85)
        .fill_opacity(75)
        .line_width(0)
        .tooltip(_tooltip())
        .with_target(_target(query, "A"))
    )


def rows(title: str, about: str, by: str, *columns: Column, span: int = 12) -> Panel:
    """A table with one row per value of the label `by`, with the newest value of each column."""
    panel = (
        table.Panel().title(title).description(about).datasource(SOURCE).span(span).height(9)
    ).unit("short")
    names = {f"Value #{chr(ord('A') + i)}": column.name for i, column in enumerate(columns)}
    for index, column in enumerate(columns):
        target = _target(Query(column.expr, ""), chr(ord("A") + index), as_table=True)
        panel = panel.with_target(target)
        unit = models.DynamicConfigValue(id_val="unit", value=UNITS.get(column.unit, column.unit))
        panel = panel.override_by_name(column.name, [unit])
    for name, options in (
        ("joinByField", {"byField": by, "mode": "outer"}),
        ("filterFieldsByName", {"include": {"names": [by, *names]}}),
        ("organize", {"renameByName": names}),
    ):
        panel = panel.with_transformation(
            models.DataTransformerConfig(id_val=name, options=options)
        )
    return panel


def service_map(title: str, about: str, nodes: str, edges: str) -> Panel:
    """A graph of the calls between services, in requests per second.

    `nodes` have a label `id`; `edges` have `id`, `source` and `target`.
    """
    names = {"Value #nodes": "mainstat", "Value #edges": "mainstat", "Value": "mainstat"}
    units = nodegraph.NodeOptions().main_stat_unit("reqps")
    return (
        nodegraph.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(12)
        .height(12)
        .nodes(units)
        .edges(nodegraph.EdgeOptions().main_stat_unit("reqps"))
        .with_target(_target(Query(nodes, ""), "nodes", as_table=True))
        .with_target(_target(Query(edges, ""), "edges", as_table=True))
        .with_transformation(
            models.DataTransformerConfig(id_val="organize", options={"renameByName": names})
        )
    )


def buckets(title: str, about: str, unit: str, expr: str, *, span: int = 12) -> Panel:
    """A histogram over time. `expr` keeps the label `le`; darker means more."""
    target = _target(Query(expr, "{{le}}"), "A").format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(span)
        .height(8)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_label(AXES[unit]))
        .color(
            heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
        )
        .rows_frame(heatmap.RowsHeatmapOptions().layout(HeatmapCellLayout.AUTO))
        .with_target(target)
    )


def _target(query: Query, ref: str, *, as_table: bool = False) -> Dataquery:
    target = Dataquery().ref_id(ref).expr(query.expr).datasource(SOURCE)
    if as_table:
        return target.format(PromQueryFormat.TABLE).instant()
    return target.legend_format(query.legend).range().exemplar(query.exemplars)


def _thresholds(*limits: tuple[float, str]) -> builders.ThresholdsConfig:
    steps: Sequence[models.Threshold] = [
        models.Threshold(value=None, color=GREEN if limits else GREY),
        *(models.Threshold(value=value, color=colour) for value, colour in limits),
    ]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(list(steps))


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.RIGHT)
        .calcs(["lastNotNull", "max"])
        .show_legend(True)
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)

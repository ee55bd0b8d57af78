"""The parts that all dashboards share: variables, links, and faults and phases as annotations."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.panels import SOURCE, Panel

TAG = "breakwater"


class Row(NamedTuple):
    """A heading and the panels below it."""

    title: str
    panels: Sequence[Panel]


class Mark(NamedTuple):
    """One annotation query. The series' labels replace `{{...}}` in the text."""

    name: str
    colour: str
    expr: str
    text: str
    tags: str
    value_is_time: bool = False  # in ms; otherwise the mark is where the series has a value
    shown: bool = True


# During a run the recorder exports all faults. Without a run, each service exports its own.
FAULTS = (
    'breakwater_fault_active{job="recorder"} or on (fault) label_replace('
    'breakwater_fault_active{job="shop"}, "target", "$1", "instance", "(.*)")'
)
MARKS = (
    Mark("Faults", "red", FAULTS, "{{kind}} on {{target}}", "kind,target"),
    Mark("Phases", "blue", "breakwater_run_phase", "{{phase}} of {{run}}", "experiment,phase"),
    Mark(
        *("Actions", "orange", "1000 * breakwater_action_time_seconds", "{{action}}", "run"),
        value_is_time=True,
    ),
    Mark(
        *("Alerts", "purple", 'ALERTS{alertstate="firing"}', "{{alertname}} {{service}}{{edge}}"),
        tags="severity,symptom",
        shown=False,
    ),
)


def make(stem: str, title: str, about: str, *rows: Row) -> models.Dashboard:
    """A dashboard with the uid `breakwater-<stem>`."""
    built = (
        builders.Dashboard(title)
        .uid(f"breakwater-{stem}")
        .description(about)
        .tags([TAG])
        .timezone("browser")
        .time("now-5m", "now")
        .refresh("5s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_links())
        .variables(_variables())
        .annotations([_annotation(mark) for mark in MARKS])
    )
    for row in rows:
        built = built.with_row(builders.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(panel)
    dashboard = built.build()
    for number, placed in enumerate(dashboard.panels or [], start=1):
        placed.id_val = number  # fixed, so that links to panels stay valid
    return dashboard


def text(dashboard: models.Dashboard) -> str:
    """The dashboard as JSON for Grafana."""
    content: dict[str, Any] = json.loads(JSONEncoder().encode(dashboard))
    for found, mark in zip(content["annotations"]["list"], MARKS, strict=True):
        # fields of Prometheus annotations that the SDK's type lacks
        found.update(titleFormat=mark.text, tagKeys=mark.tags, step="2s")
        found.update({"useValueForTime": True} if mark.value_is_time else {})
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _annotation(mark: Mark) -> builders.AnnotationQuery:
    query = builders.AnnotationQuery().name(mark.name).datasource(SOURCE).icon_color(mark.colour)
    return query.enable(mark.shown).expr(mark.expr)


def _links() -> builders.DashboardLink:
    return (
        builders.DashboardLink("Breakwater")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _variables() -> list[Builder[models.VariableModel]]:
    chosen = 'job="shop"'
    variables: list[Builder[models.VariableModel]] = [
        builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    ]
    for name in ("service", "instance", "arm"):
        variables.append(
            builders.QueryVariable(name)
            .label(name.capitalize())
            .datasource(SOURCE)
            .query(f"label_values(up{{{chosen}}}, {name})")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
        )
        chosen += f',{name}=~"${name}"'
    return variables

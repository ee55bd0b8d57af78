"""Are the promises kept? Availability and latency against topology.toml's SLOs, and how fast budgets burn."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import RED, Column, Panel, Query, graph, rows, states
from dashboards.promql import SERVED

CHOSEN = '{service=~"$service"}'
WINDOWS = ("10s", "30s", "60s", "6m")
ALL = f'increase({SERVED}_count{{job="shop",service=~"$service"}}[$__range])'
BAD = ALL.replace('"$service"', '"$service",http_response_status_code=~"5.."')


def board() -> Dashboard:
    return make(
        "slo",
        "Breakwater: SLO and error budget",
        "Windows are scaled to a lab: an hour of an operator's book is a minute here"
        " (docs/metrics.md).",
        Row("Are the promises kept?", _kept()),
        Row("How fast do failures use the budget up?", _burning("availability", "failed")),
        Row("How fast does slowness use the budget up?", _burning("latency", "were too slow")),
        Row("What alarms?", [_alarms()]),
    )


def _kept() -> list[Panel]:
    failed = f"(sum by (service) ({BAD}) or 0 * sum by (service) ({ALL}))"
    bad_share = f"{failed} / sum by (service) ({ALL})"
    return [
        rows(
            "What is promised, and what is kept?",
            "Objectives of system/topology.toml beside the last six minutes.",
            "service",
            Column("promised availability", f"slo:availability:objective{CHOSEN}", "percentunit"),
            Column("errors", f"slo:availability:errors6m{CHOSEN}", "percentunit"),
            Column("promised p99", f"slo:latency_seconds:objective{CHOSEN}", "s"),
            Column("p99 now", f"service:http_duration_seconds:p99_10s{CHOSEN}", "s"),
            Column("slower than promised", f"slo:latency:errors6m{CHOSEN}", "percentunit"),
        ),
        graph(
            "How much of the error budget is left?",
            "Of the errors that the objective allows in the time range shown; below 0 it is"
            " overdrawn.",
            "percentunit",
            Query(
                f"1 - ({bad_share}) / on (service) (1 - slo:availability:objective{CHOSEN})",
                "{{service}}",
            ),
            limit=0,
        ),
        graph(
            "How far is each service from its promised latency?",
            "99th percentile as a share of the objective: above 1 the promise is broken.",
            "percentunit",
            Query(
                f"service:http_duration_seconds:p99_10s{CHOSEN}"
                f" / on (service) slo:latency_seconds:objective{CHOSEN}",
                "{{service}}",
            ),
            limit=1,
            span=24,
        ),
    ]


def _burning(promise: str, what: str) -> list[Panel]:
    return [
        graph(
            f"How fast does the budget of {promise} burn over {window}?",
            f"Share of requests that {what} in the last {window}, by the share that the objective"
            " allows: at 1 the budget is used up exactly.",
            "burn",
            Query(f"slo:{promise}:burn{window}{CHOSEN}", "{{service}}"),
            limit=1,
        )
        for window in WINDOWS
    ]


def _alarms() -> Panel:
    return states(
        "Which budget alerts fired, and when?",
        "Alerts of a service with a severity; two windows must agree before one fires.",
        Query(
            'max by (alertname, service, severity) (ALERTS{alertstate="firing",service=~"$service"})',
            "{{alertname}} {{service}} {{severity}}",
        ),
        {1: ("firing", RED)},
    )

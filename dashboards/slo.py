"""SLOs: availability and latency against topology.toml, and the burn rates of the error budgets."""

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
        "Windows are scaled to the lab: one hour of the usual windows is one minute here"
        " (docs/alerts.md).",
        Row("Objectives", _objectives()),
        Row("Burn rate of availability", _burn_rates("availability", "failed")),
        Row("Burn rate of latency", _burn_rates("latency", "were too slow")),
        Row("Alerts", [_alerts()]),
    )


def _objectives() -> list[Panel]:
    failed = f"(sum by (service) ({BAD}) or 0 * sum by (service) ({ALL}))"
    bad_share = f"{failed} / sum by (service) ({ALL})"
    return [
        rows(
            "Objectives and measured values",
            "Objectives of system/topology.toml and the values of the last six minutes.",
            "service",
            Column("availability objective", f"slo:availability:objective{CHOSEN}", "percentunit"),
            Column("errors", f"slo:availability:errors6m{CHOSEN}", "percentunit"),
            Column("p99 objective", f"slo:latency_seconds:objective{CHOSEN}", "s"),
            Column("p99 now", f"service:http_duration_seconds:p99_10s{CHOSEN}", "s"),
            Column("slower than the objective", f"slo:latency:errors6m{CHOSEN}", "percentunit"),
        ),
        graph(
            "Remaining error budget",
            "Share of the errors that the objective allows in the shown time range. Below 0 the budget"
            " is exceeded.",
            "percentunit",
            Query(
                f"1 - ({bad_share}) / on (service) (1 - slo:availability:objective{CHOSEN})",
                "{{service}}",
            ),
            limit=0,
        ),
        graph(
            "Latency against the objective",
            "99th percentile as a share of the objective. Above 1 the objective is missed.",
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


def _burn_rates(objective: str, what: str) -> list[Panel]:
    return [
        graph(
            f"Burn rate of {objective} over {window}",
            f"Share of requests that {what} in the last {window}, divided by the share that the objective"
            " allows. At 1 the budget is used up exactly.",
            "burn",
            Query(f"slo:{objective}:burn{window}{CHOSEN}", "{{service}}"),
            limit=1,
        )
        for window in WINDOWS
    ]


def _alerts() -> Panel:
    return states(
        "Error budget alerts",
        "Firing alerts of services. An alert fires when both of its windows exceed the threshold.",
        Query(
            'max by (alertname, service, severity) (ALERTS{alertstate="firing",service=~"$service"})',
            "{{alertname}} {{service}} {{severity}}",
        ),
        {1: ("firing", RED)},
    )

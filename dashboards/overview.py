"""The shop at a glance: requests, errors and durations by service, the service map and alerts."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import (
    GREEN,
    RED,
    YELLOW,
    Column,
    Panel,
    Query,
    graph,
    number,
    rows,
    service_map,
    states,
)
from dashboards.promql import CALLED, SERVED, WINDOW, named, quantile, rate, share

FRONT = '{job="shop",service="gateway"}'
SERVED_BY_SERVICE = rate(f"{SERVED}_count", by="service")
ERRORS_BY_SERVICE = rate(f"{SERVED}_count", 'http_response_status_code=~"5.."', by="service")
CALLED_BY_EDGE = rate(f"{CALLED}_count", by="edge")
FAILED_BY_EDGE = rate(f"{CALLED}_count", 'error_type!=""', by="edge")
FIRING = 'max by (alertname, severity, service, edge) (ALERTS{alertstate="firing"})'


def board() -> Dashboard:
    return make(
        "overview",
        "Breakwater: overview",
        "The shop at a glance. Red bands are active faults, blue marks are the phases of a run.",
        Row("Summary", _summary()),
        Row("Services", _red()),
        Row("Calls between services", _calls()),
        Row("Availability and alerts", _alerts()),
    )


def _summary() -> list[Panel]:
    requests = f"sum(rate({SERVED}_count{FRONT}{WINDOW}))"
    failed = f'sum(rate({SERVED}_count{FRONT[:-1]},http_response_status_code=~"5.."}}{WINDOW}))'
    slowest = f"sum by (le) (rate({SERVED}_bucket{FRONT}{WINDOW}))"
    return [
        number("Requests", "Requests that the gateways answer.", "reqps", requests),
        number(
            "Error rate",
            "Share of 5xx among the gateways' answers.",
            "percentunit",
            share(failed, requests),
            (0.001, YELLOW),
            (0.01, RED),
        ),
        number(
            "99th percentile latency",
            "Measured at the gateways.",
            "s",
            f"histogram_quantile(0.99, {slowest})",
            (0.5, YELLOW),
            (1, RED),
        ),
        number(
            "Instances down",
            "Instances that do not answer Prometheus.",
            "short",
            'count(up{job="shop"} == 0) or vector(0)',
            (1, RED),
        ),
        number(
            "Firing alerts",
            "Alerts of all severities.",
            "short",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            (1, RED),
        ),
        number(
            "Pending orders",
            "Sagas of all instances that have not ended.",
            "short",
            'max(saga_pending{job="shop"})',
        ),
    ]


def _red() -> list[Panel]:
    return [
        graph(
            "Requests per service",
            "Requests per second, without health, metrics and lab routes.",
            "reqps",
            Query(SERVED_BY_SERVICE, "{{service}}"),
        ),
        graph(
            "Error rate per service",
            "Share of 5xx among all answers. A refusal such as 402 or 409 is not an error.",
            "percentunit",
            Query(share(ERRORS_BY_SERVICE, SERVED_BY_SERVICE), "{{service}}"),
        ),
        graph(
            "99th percentile latency per service",
            "Time to answer. Each dot is an exemplar and opens its trace.",
            "s",
            Query(quantile(0.99, SERVED, by="service"), "{{service}}", exemplars=True),
        ),
        graph(
            "Median latency per service",
            "Time to answer.",
            "s",
            Query(quantile(0.5, SERVED, by="service"), "{{service}}"),
        ),
        graph(
            "95th percentile latency per instance",
            "An instance that differs from the others has a grey failure or belongs to another arm.",
            "s",
            Query(quantile(0.95, SERVED, by="instance, arm"), "{{instance}} ({{arm}})"),
        ),
        graph(
            "99th percentile latency per route",
            "Time to answer, by method and route.",
            "s",
            Query(
                quantile(0.99, SERVED, by="service, http_request_method, http_route"),
                "{{service}} {{http_request_method}} {{http_route}}",
            ),
        ),
    ]


def _calls() -> list[Panel]:
    # A service without requests is on the map too. Requests from outside have no caller that measures them.
    nodes = f'({SERVED_BY_SERVICE} or 0 * sum by (service) (up{{job="shop"}}))'
    incoming = f"sum by (service) (rate({SERVED}_count{FRONT}{WINDOW}))"
    return [
        service_map(
            "Service map",
            "An arrow is an edge from caller to callee. The numbers are requests per second.",
            f"{named(nodes, id='service:(.*)', title='service:(.*)')} or "
            f'label_replace(label_replace({incoming}, "id", "ingress", "", ""), '
            '"title", "ingress", "", "")',
            named(
                f"({CALLED_BY_EDGE} or label_replace(sum(rate({SERVED}_count{FRONT}{WINDOW})), "
                '"edge", "ingress->gateway", "", ""))',
                id="edge:(.*)",
                source="edge:(.*)->.*",
                target="edge:.*->(.*)",
            ),
        ),
        rows(
            "Calls per edge",
            "Attempts as the caller sees them. A failed attempt is a timeout, a broken connection,"
            " 429 or 5xx.",
            "edge",
            Column("attempts", CALLED_BY_EDGE, "reqps"),
            Column("failed", share(FAILED_BY_EDGE, CALLED_BY_EDGE), "percentunit"),
            Column("median", quantile(0.5, CALLED, by="edge"), "s"),
            Column("99th percentile", quantile(0.99, CALLED, by="edge"), "s"),
        ),
    ]


def _alerts() -> list[Panel]:
    up = Query('min by (instance) (up{job="shop",service=~"$service"})', "{{instance}}")
    return [
        states(
            "Instances up and down",
            "Whether each instance answered Prometheus.",
            up,
            {0: ("down", RED), 1: ("up", GREEN)},
            span=12,
        ),
        states(
            "Alerts",
            "Firing alerts. docs/alerts.md explains each.",
            Query(FIRING, "{{alertname}} {{service}}{{edge}}"),
            {1: ("firing", RED)},
            span=12,
        ),
    ]

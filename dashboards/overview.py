"""Is the shop well? Requests, errors and duration by service, who calls whom, what is alarming."""

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
ALARMS = 'max by (alertname, severity, service, edge) (ALERTS{alertstate="firing"})'


def board() -> Dashboard:
    return make(
        "overview",
        "Breakwater: overview",
        "The shop at a glance. Red bands are faults in effect, blue marks are a run's phases.",
        Row("Is the shop well?", _well()),
        Row("How is each service doing?", _red()),
        Row("Who calls whom, and how does it go?", _calls()),
        Row("What is down, what alarms?", _alarms()),
    )


def _well() -> list[Panel]:
    asked = f"sum(rate({SERVED}_count{FRONT}{WINDOW}))"
    failed = f'sum(rate({SERVED}_count{FRONT[:-1]},http_response_status_code=~"5.."}}{WINDOW}))'
    slowest = f"sum by (le) (rate({SERVED}_bucket{FRONT}{WINDOW}))"
    return [
        number("How much is asked?", "Requests that the gateways answer.", "reqps", asked),
        number(
            "What share fails?",
            "5xx among the gateways' answers.",
            "percentunit",
            share(failed, asked),
            (0.001, YELLOW),
            (0.01, RED),
        ),
        number(
            "How long do the slowest 1% take?",
            "99th percentile at the gateways.",
            "s",
            f"histogram_quantile(0.99, {slowest})",
            (0.5, YELLOW),
            (1, RED),
        ),
        number(
            "How many instances are down?",
            "Instances that do not answer Prometheus.",
            "short",
            'count(up{job="shop"} == 0) or vector(0)',
            (1, RED),
        ),
        number(
            "How many alerts are firing?",
            "All severities.",
            "short",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            (1, RED),
        ),
        number(
            "How many orders are under way?",
            "Sagas of all instances that have not ended.",
            "short",
            'max(saga_pending{job="shop"})',
        ),
    ]


def _red() -> list[Panel]:
    return [
        graph(
            "How much is asked of each service?",
            "Requests handled a second; health, metrics and lab controls are not counted.",
            "reqps",
            Query(SERVED_BY_SERVICE, "{{service}}"),
        ),
        graph(
            "What share of its answers are errors?",
            "5xx among all answers; a refusal such as 402 or 409 is no error.",
            "percentunit",
            Query(share(ERRORS_BY_SERVICE, SERVED_BY_SERVICE), "{{service}}"),
        ),
        graph(
            "How long does the slowest 1% wait?",
            "99th percentile of the time to answer. The dots are exemplars: each opens its trace.",
            "s",
            Query(quantile(0.99, SERVED, by="service"), "{{service}}", exemplars=True),
        ),
        graph(
            "How long does it take usually?",
            "Median of the time to answer.",
            "s",
            Query(quantile(0.5, SERVED, by="service"), "{{service}}"),
        ),
        graph(
            "Does one instance differ from its twins?",
            "95th percentile by instance; where one lies apart it is grey failure or an arm.",
            "s",
            Query(quantile(0.95, SERVED, by="instance, arm"), "{{instance}} ({{arm}})"),
        ),
        graph(
            "Which routes are slow?",
            "99th percentile by route.",
            "s",
            Query(
                quantile(0.99, SERVED, by="service, http_request_method, http_route"),
                "{{service}} {{http_request_method}} {{http_route}}",
            ),
        ),
    ]


def _calls() -> list[Panel]:
    # A service nobody asks is on the map as well; what comes in has no caller that measures it.
    nodes = f'({SERVED_BY_SERVICE} or 0 * sum by (service) (up{{job="shop"}}))'
    incoming = f"sum by (service) (rate({SERVED}_count{FRONT}{WINDOW}))"
    return [
        service_map(
            "Who calls whom?",
            "An arrow is an edge of calls; the figures are requests a second.",
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
            "How does each edge do?",
            "Attempts as the caller sees them; no good answer is a timeout, a refused connection,"
            " 429 or 5xx.",
            "edge",
            Column("attempts", CALLED_BY_EDGE, "reqps"),
            Column("without a good answer", share(FAILED_BY_EDGE, CALLED_BY_EDGE), "percentunit"),
            Column("median", quantile(0.5, CALLED, by="edge"), "s"),
            Column("99th percentile", quantile(0.99, CALLED, by="edge"), "s"),
        ),
    ]


def _alarms() -> list[Panel]:
    up = Query('min by (instance) (up{job="shop",service=~"$service"})', "{{instance}}")
    return [
        states(
            "Which instances were down, and when?",
            "Whether each instance answered Prometheus.",
            up,
            {0: ("down", RED), 1: ("up", GREEN)},
            span=12,
        ),
        states(
            "Which alerts fired, and when?",
            "Firing alerts; docs/alerts.md says what each means.",
            Query(ALARMS, "{{alertname}} {{service}}{{edge}}"),
            {1: ("firing", RED)},
            span=12,
        ),
    ]

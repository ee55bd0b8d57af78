"""What was sent, and what came back? The load of a run as its shoppers saw it, beside phases and faults."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import FAULTS, Row, make
from dashboards.panels import GREEN, RED, Panel, Query, buckets, graph, states
from dashboards.promql import WINDOW

RESPONSES = "load_response_seconds"


def board() -> Dashboard:
    return make(
        "load",
        "Breakwater: load test",
        "There while a run is recorded (`lab run`, `lab load`). Arrivals are open loop: a time"
        " counts from the moment a request was due.",
        Row("Where is the run?", _run()),
        Row("Is what is offered answered?", _answered()),
        Row("How long do shoppers wait?", _waiting()),
        Row("Is the evidence whole?", _evidence()),
    )


def _run() -> list[Panel]:
    return [
        states(
            "Which phase is the run in?",
            "As in run.json; the method is where the faults are.",
            Query("max by (experiment, phase) (breakwater_run_phase)", "{{experiment}} {{phase}}"),
            {1: ("now", GREEN)},
            span=12,
        ),
        states(
            "Which faults are in effect?",
            "As their holders tell: from effective to removed, or to the end of their TTL.",
            Query(f"max by (fault, kind, target) ({FAULTS})", "{{kind}} on {{target}}"),
            {1: ("in effect", RED)},
            span=12,
        ),
    ]


def _answered() -> list[Panel]:
    return [
        graph(
            "Does the shop keep up with what is offered?",
            "Arrivals of the schedule against attempts answered: a gap is work that piles up. An"
            " errand may take several attempts, and shoppers log in besides.",
            "reqps",
            Query(f"sum(rate(load_arrivals_total{WINDOW}))", "offered"),
            Query(f"sum(rate(load_requests_total{WINDOW}))", "ended"),
            Query(f'sum(rate(load_requests_total{{outcome="ok"}}{WINDOW}))', "answered well"),
        ),
        graph(
            "What do shoppers come to?",
            "Attempts by outcome; unknown is a POST whose fate nobody told.",
            "reqps",
            Query(f"sum by (outcome) (rate(load_requests_total{WINDOW}))", "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "What do they ask for?",
            "Attempts by route.",
            "reqps",
            Query(f"sum by (route) (rate(load_requests_total{WINDOW}))", "{{route}}"),
        ),
        graph(
            "How many arrivals could not be sent?",
            "Dropped because too many were under way: to the shopper a failure.",
            "cps",
            Query(f'sum(rate(load_arrivals_total{{result="dropped"}}{WINDOW}))', "dropped"),
        ),
    ]


def _waiting() -> list[Panel]:
    by_route = f"sum by (route, le) (rate({RESPONSES}_bucket{WINDOW}))"
    return [
        graph(
            "How long does the slowest 1% wait?",
            "99th percentile by route.",
            "s",
            Query(f"histogram_quantile(0.99, {by_route})", "{{route}}"),
        ),
        graph(
            "How long does it take usually?",
            "Median by route.",
            "s",
            Query(f"histogram_quantile(0.5, {by_route})", "{{route}}"),
        ),
        buckets(
            "Where do the times lie?",
            "All attempts; darker is more.",
            "s",
            f"sum by (le) (rate({RESPONSES}_bucket{WINDOW}))",
            span=24,
        ),
    ]


def _evidence() -> list[Panel]:
    return [
        graph(
            "How much is recorded?",
            "Rows of the run's archive a second, by table.",
            "cps",
            Query(f"sum by (table) (rate(recorder_rows_total{WINDOW}))", "{{table}}"),
        ),
        graph(
            "How much was shed?",
            "Rows lost because the disk did not keep up, and scrapes without an answer: both"
            " belong into a run's validity.",
            "short",
            Query("sum by (table) (recorder_shed_total)", "{{table}}"),
            Query("sum(recorder_scrape_failures_total)", "scrapes"),
        ),
    ]

"""The load of a run as its shoppers experienced it, with its phases and faults."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import FAULTS, Row, make
from dashboards.panels import GREEN, RED, Panel, Query, buckets, graph, states
from dashboards.promql import WINDOW

RESPONSES = "load_response_seconds"


def board() -> Dashboard:
    return make(
        "load",
        "Breakwater: load test",
        "It has data while a run is recorded (`lab run`, `lab load`). The load is open loop: a response"
        " time counts from the moment when the request was due.",
        Row("Phases and faults", _run()),
        Row("Offered load and answers", _answers()),
        Row("Response times", _times()),
        Row("Recording", _recording()),
    )


def _run() -> list[Panel]:
    return [
        states(
            "Phase of the run",
            "The phases of run.json. The faults are in the phase `method`.",
            Query("max by (experiment, phase) (breakwater_run_phase)", "{{experiment}} {{phase}}"),
            {1: ("now", GREEN)},
            span=12,
        ),
        states(
            "Active faults",
            "From effective to removed, or to the end of the TTL, as the faulty processes report it.",
            Query(f"max by (fault, kind, target) ({FAULTS})", "{{kind}} on {{target}}"),
            {1: ("in effect", RED)},
            span=12,
        ),
    ]


def _answers() -> list[Panel]:
    return [
        graph(
            "Offered and answered load",
            "Scheduled arrivals and ended attempts. A gap means that work queues up. One arrival can"
            " need several attempts, and shoppers also log in.",
            "reqps",
            Query(f"sum(rate(load_arrivals_total{WINDOW}))", "offered"),
            Query(f"sum(rate(load_requests_total{WINDOW}))", "ended"),
            Query(f'sum(rate(load_requests_total{{outcome="ok"}}{WINDOW}))', "succeeded"),
        ),
        graph(
            "What shoppers experienced",
            "Attempts by outcome. `unknown` is a POST without an answer.",
            "reqps",
            Query(f"sum by (outcome) (rate(load_requests_total{WINDOW}))", "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "Attempts per route",
            "Attempts per second, by route.",
            "reqps",
            Query(f"sum by (route) (rate(load_requests_total{WINDOW}))", "{{route}}"),
        ),
        graph(
            "Dropped arrivals",
            "Not sent because too many requests were in flight. They count as failures.",
            "cps",
            Query(f'sum(rate(load_arrivals_total{{result="dropped"}}{WINDOW}))', "dropped"),
        ),
    ]


def _times() -> list[Panel]:
    by_route = f"sum by (route, le) (rate({RESPONSES}_bucket{WINDOW}))"
    return [
        graph(
            "99th percentile response time",
            "By route.",
            "s",
            Query(f"histogram_quantile(0.99, {by_route})", "{{route}}"),
        ),
        graph(
            "Median response time",
            "By route.",
            "s",
            Query(f"histogram_quantile(0.5, {by_route})", "{{route}}"),
        ),
        buckets(
            "Distribution of response times",
            "All attempts. Darker means more.",
            "s",
            f"sum by (le) (rate({RESPONSES}_bucket{WINDOW}))",
            span=24,
        ),
    ]


def _recording() -> list[Panel]:
    return [
        graph(
            "Recorded rows",
            "Rows of the run's archive per second, by table.",
            "cps",
            Query(f"sum by (table) (rate(recorder_rows_total{WINDOW}))", "{{table}}"),
        ),
        graph(
            "Lost rows and scrapes",
            "Rows lost because the disk was too slow, and scrapes without an answer. Both can make"
            " a run invalid.",
            "short",
            Query("sum by (table) (recorder_shed_total)", "{{table}}"),
            Query("sum(recorder_scrape_failures_total)", "scrapes"),
        ),
    ]

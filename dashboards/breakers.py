"""Resilience policies: breakers, retries, hedges, limits and ejections, by edge."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import GREEN, RED, YELLOW, Panel, Query, graph, states
from dashboards.promql import CALLED, chosen, quantile, rate, share

ATTEMPTS = rate(f"{CALLED}_count", by="edge")


def board() -> Dashboard:
    return make(
        "breakers",
        "Breakwater: circuit breakers",
        "The decisions of every resilience policy (docs/resilience.md), by edge: caller->callee.",
        Row("Circuit breakers", _breakers()),
        Row("Calls, as the caller sees them", _edges()),
        Row("Retries, hedges and fallbacks", _retries()),
        Row("Concurrency limits and load shedding", _limits()),
    )


def _decisions(title: str, about: str, kind: str, by: str = "edge, reason") -> Panel:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    decided = rate("resilience_events_total", f'kind="{kind}"', by=by)
    return graph(title, about, "cps", Query(decided, legend))


def _breakers() -> list[Panel]:
    return [
        states(
            "State of each breaker",
            "Each caller has one breaker for each service that it calls.",
            Query(
                f"max by (edge, instance) ({chosen('breaker_state')})", "{{edge}} of {{instance}}"
            ),
            {0: ("closed", GREEN), 1: ("half open", YELLOW), 2: ("open", RED)},
            height=12,
        ),
        _decisions(
            "Breaker transitions", "Transitions per second, with their reason.", "transition"
        ),
        _decisions(
            "Rejected calls",
            "Calls that were not made because of an open breaker, a full bulkhead or a limit.",
            "rejection",
            by="edge, policy, reason",
        ),
    ]


def _edges() -> list[Panel]:
    failed = rate(f"{CALLED}_count", 'error_type!=""', by="edge")
    return [
        graph(
            "Failed attempts",
            "Share of attempts that end in a timeout, a broken connection, 429 or 5xx. The breakers"
            " count the same.",
            "percentunit",
            Query(share(failed, ATTEMPTS), "{{edge}}"),
        ),
        graph(
            "Duration of attempts",
            "99th percentile by edge. Each dot is an exemplar and opens its trace.",
            "s",
            Query(quantile(0.99, CALLED, by="edge"), "{{edge}}", exemplars=True),
        ),
        graph(
            "Failed attempts by cause",
            "Failed attempts per second, by error type.",
            "cps",
            Query(
                rate(f"{CALLED}_count", 'error_type!=""', by="edge, error_type"),
                "{{edge}} {{error_type}}",
            ),
        ),
        _decisions("Timeouts", "Attempts that the timeout policy ended.", "timeout"),
    ]


def _retries() -> list[Panel]:
    retried = rate("resilience_events_total", 'kind="attempt"', by="edge")
    return [
        graph(
            "Retries per attempt",
            "Share of retries among all attempts. It is near 0 in normal operation; near 1 it is a retry storm.",
            "percentunit",
            Query(share(retried, ATTEMPTS), "{{edge}}"),
        ),
        graph(
            "Retry budget",
            "Retries that are still allowed. At 0, failures are not retried.",
            "short",
            Query(f"min by (edge) ({chosen('retry_budget_tokens')})", "{{edge}}"),
        ),
        _decisions("Hedges", "Second attempts that start beside a slow first one.", "hedge"),
        _decisions("Fallbacks", "Old or degraded answers in place of failed ones.", "fallback"),
        _decisions("Retries given up", "Calls without an attempt, budget or time left.", "give_up"),
        _decisions(
            "Ejections",
            "Instances that balancing excludes because they failed more than the others.",
            "ejection",
        ),
        graph(
            "Ejected instances",
            "Instances that are excluded from balancing now, by edge.",
            "short",
            Query(f"max by (edge) ({chosen('outlier_ejected')})", "{{edge}}"),
            span=24,
        ),
    ]


def _limits() -> list[Panel]:
    by = "{{edge}} {{policy}}"
    return [
        graph(
            "Usage of bulkheads and limits",
            "Running calls as a share of the limit. At 1, the next call waits or is rejected.",
            "percentunit",
            Query(
                f"max by (edge, policy) ({chosen('resilience_in_flight')}"
                f" / ({chosen('resilience_limit')} > 0))",
                by,
            ),
            limit=1,
        ),
        graph(
            "Concurrency limits",
            "Calls that may run at the same time.",
            "short",
            Query(f"min by (edge, policy) ({chosen('resilience_limit')})", by),
        ),
        graph(
            "Waiting calls",
            "Calls that wait for a permit.",
            "short",
            Query(f"sum by (edge, policy) ({chosen('resilience_waiting')})", by),
        ),
        _decisions(
            "Shed requests",
            "Requests that the gateway refuses with 503 because it is overloaded.",
            "shed",
        ),
    ]

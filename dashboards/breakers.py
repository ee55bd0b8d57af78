"""Do the protections protect? Breakers, retries, hedges, limits and ejections, edge by edge."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import Row, make
from dashboards.panels import GREEN, RED, YELLOW, Panel, Query, graph, states
from dashboards.promql import CALLED, chosen, quantile, rate, share

ATTEMPTS = rate(f"{CALLED}_count", by="edge")


def board() -> Dashboard:
    return make(
        "breakers",
        "Breakwater: circuit breakers",
        "Every resilience policy's decisions (docs/resilience.md), by edge: caller->callee.",
        Row("When was which breaker open?", _breakers()),
        Row("What does the edge look like to its caller?", _edges()),
        Row("Is it asked again?", _again()),
        Row("How many are let in?", _let_in()),
    )


def _decisions(title: str, about: str, kind: str, by: str = "edge, reason") -> Panel:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    decided = rate("resilience_events_total", f'kind="{kind}"', by=by)
    return graph(title, about, "cps", Query(decided, legend))


def _breakers() -> list[Panel]:
    return [
        states(
            "Which breakers were open, and when?",
            "Each caller keeps a breaker for each service it calls.",
            Query(
                f"max by (edge, instance) ({chosen('breaker_state')})", "{{edge}} of {{instance}}"
            ),
            {0: ("closed", GREEN), 1: ("half open", YELLOW), 2: ("open", RED)},
            height=12,
        ),
        _decisions(
            "How often do breakers change their state?",
            "Transitions a second, with their reason.",
            "transition",
        ),
        _decisions(
            "How many calls are rejected at once?",
            "Calls that were not made: an open breaker, a full bulkhead, a limit.",
            "rejection",
            by="edge, policy, reason",
        ),
    ]


def _edges() -> list[Panel]:
    failed = rate(f"{CALLED}_count", 'error_type!=""', by="edge")
    return [
        graph(
            "What share of attempts has no good answer?",
            "Timeouts, broken connections, 429 and 5xx, as the caller sees them: what a breaker"
            " judges by.",
            "percentunit",
            Query(share(failed, ATTEMPTS), "{{edge}}"),
        ),
        graph(
            "How long do attempts take?",
            "99th percentile by edge. The dots are exemplars: each opens its trace.",
            "s",
            Query(quantile(0.99, CALLED, by="edge"), "{{edge}}", exemplars=True),
        ),
        graph(
            "What goes wrong?",
            "Attempts without a good answer, by what came instead.",
            "cps",
            Query(
                rate(f"{CALLED}_count", 'error_type!=""', by="edge, error_type"),
                "{{edge}} {{error_type}}",
            ),
        ),
        _decisions(
            "How many calls run out of time?",
            "Attempts that the timeout policy ended.",
            "timeout",
        ),
    ]


def _again() -> list[Panel]:
    retried = rate("resilience_events_total", 'kind="attempt"', by="edge")
    return [
        graph(
            "Do retries make the load worse?",
            "Retries for each attempt. Near 0 it is help; a retry storm goes towards 1.",
            "percentunit",
            Query(share(retried, ATTEMPTS), "{{edge}}"),
        ),
        graph(
            "How many retries are still allowed?",
            "Tokens of the retry budget: at 0 failures are passed on as they are.",
            "short",
            Query(f"min by (edge) ({chosen('retry_budget_tokens')})", "{{edge}}"),
        ),
        _decisions(
            "How often is a slow call hedged?", "A second attempt beside the first.", "hedge"
        ),
        _decisions(
            "How often does another answer stand in?",
            "Fallbacks: a stale or a degraded answer.",
            "fallback",
        ),
        _decisions(
            "How often are retries given up?", "No attempt, budget or time left.", "give_up"
        ),
        _decisions(
            "Which instances are left out?",
            "Ejections of instances that failed more than their twins.",
            "ejection",
        ),
        graph(
            "How many instances are left out now?",
            "Instances ejected from balancing, by edge.",
            "short",
            Query(f"max by (edge) ({chosen('outlier_ejected')})", "{{edge}}"),
            span=24,
        ),
    ]


def _let_in() -> list[Panel]:
    by = "{{edge}} {{policy}}"
    return [
        graph(
            "How full are bulkheads and limits?",
            "Calls inside, for each that may be; at 1 the next one waits or is refused.",
            "percentunit",
            Query(
                f"max by (edge, policy) ({chosen('resilience_in_flight')}"
                f" / ({chosen('resilience_limit')} > 0))",
                by,
            ),
            limit=1,
        ),
        graph(
            "Where do adaptive limits stand?",
            "How many calls may be inside at once.",
            "short",
            Query(f"min by (edge, policy) ({chosen('resilience_limit')})", by),
        ),
        graph(
            "How many calls stand in line?",
            "Calls that wait for a permit.",
            "short",
            Query(f"sum by (edge, policy) ({chosen('resilience_waiting')})", by),
        ),
        _decisions(
            "How much is shed at the door?",
            "Requests refused with 503 or 429 because the service is over its limit.",
            "shed",
        ),
    ]

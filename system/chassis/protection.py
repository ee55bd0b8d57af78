"""Which policies protect which edge, and where their decisions go: log, metrics, spans."""

from opentelemetry import trace

from chassis import telemetry
from chassis.resilience.breaker import Breaker
from chassis.resilience.budget import RetryBudget
from chassis.resilience.events import Event
from chassis.resilience.policy import Chain, compose
from chassis.resilience.retry import Retry
from chassis.resilience.timeout import Timeout

_STATES = {"closed": 0, "half_open": 1, "open": 2}
KINDS_OFF = {
    "none": frozenset({"timeout", "retry", "breaker"}),
    "timeouts": frozenset({"retry", "breaker"}),
    "retries": frozenset({"breaker"}),
    "breaker": frozenset[str](),
    "full": frozenset[str](),
}
TIMEOUTS_S = {"payments->bank": 0.5, "orders->payments": 2.0, "gateway->orders": 4.0}


def tell(event: Event) -> None:
    """Log, count and trace one decision."""
    telemetry.POLICY_EVENTS.labels(event.edge, event.policy, event.kind, event.reason).inc()
    if event.kind == "transition":
        telemetry.BREAKER_STATE.labels(event.edge).set(_STATES.get(event.state, 0))
    telemetry.record(
        "breaker", edge=event.edge, policy=event.policy, kind=event.kind, state=str(event.state),
        previous=str(event.previous), reason=event.reason, n=event.n, failures=event.failures,
        slow=event.slow, attempt=event.attempt,
    )  # fmt: skip
    if event.kind != "evaluation":
        trace.get_current_span().add_event(
            f"{event.policy}.{event.kind}",
            {"edge": event.edge, "reason": event.reason, "state": str(event.state)},
        )


def chain(edge: str, profile: str) -> Chain:
    """The policies of one edge, outermost first: retry around breaker around timeout."""
    built = compose(
        Retry(max_attempts=3, backoff_base_s=0.05, backoff_cap_s=0.5, budget=RetryBudget(), listener=tell),
        Breaker(
            edge, window_size=20, minimum_calls=10, failure_rate_threshold=0.5, wait_open_s=3.0,
            permitted_half_open=3, listener=tell,
        ),
        Timeout(TIMEOUTS_S.get(edge, 1.0), listener=tell),
    )  # fmt: skip
    built.off = KINDS_OFF[profile]
    telemetry.BREAKER_STATE.labels(edge).set(0)
    return built


def disabled_by(lab_options: dict[str, str]) -> frozenset[str] | None:
    """What the lab header `resilience=PROFILE` leaves out for this request; None: nothing said."""
    return KINDS_OFF.get(lab_options.get("resilience", ""))

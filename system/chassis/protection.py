"""Which policies protect which edge (resilience.toml), and where their decisions go: log, metrics, spans."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from opentelemetry import trace

from chassis import telemetry
from chassis.resilience.events import Event
from chassis.resilience.profile import PROFILES, EdgePolicies, ProfileError, build, off_for

RESILIENCE = Path(__file__).parents[1] / "resilience.toml"
_STATES = {"closed": 0, "half_open": 1, "open": 2, "forced_open": 2}


@cache
def tables(path: Path = RESILIENCE) -> Mapping[str, Mapping[str, Any]]:
    """The policy tables by edge, as written. Raises ProfileError naming file and line."""
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path.name}: {error}") from None


def policies(edge: str, profile: str) -> EdgePolicies:
    """The policies of one edge, at this step of the ladder."""
    written = tables()
    chain = build(edge, {**written.get("default", {}), **written.get(edge, {})}, listener=tell)
    chain.use(profile)
    if chain.get("breaker") is not None:
        telemetry.BREAKER_STATE.labels(edge).set(0)
    return chain


def change(chains: Mapping[str, EdgePolicies], wanted: Mapping[str, Any]) -> None:
    """`{"edge"?, "profile"?, "switches"?: {kind: bool}}`; without an edge, all. Raises ProfileError."""
    unknown = sorted(set(wanted) - {"edge", "profile", "switches"})
    if unknown:
        raise ProfileError(f"unknown field {unknown[0]!r}; expected edge, profile, switches")
    edge = wanted.get("edge")
    if edge is not None and edge not in chains:
        known = ", ".join(sorted(chains)) or "none"
        raise ProfileError(f"no edge {edge!r} here; expected one of {known}")
    switches = wanted.get("switches", {})
    if not isinstance(switches, dict) or not all(isinstance(on, bool) for on in switches.values()):
        raise ProfileError("switches: expected an object of kind: true or false")
    if "profile" in wanted:
        off_for(wanted["profile"])  # all or nothing: refuse before the first edge has changed
    for chain in [chains[edge]] if edge is not None else list(chains.values()):
        if "profile" in wanted:
            chain.use(wanted["profile"])
        for kind, on in switches.items():
            if edge is not None or kind in chain.kinds():
                chain.switch(kind, on)


def disabled_by(lab_options: Mapping[str, str]) -> frozenset[str] | None:
    """What the lab header `resilience=PROFILE` leaves out for this request; None: nothing said."""
    profile = lab_options.get("resilience", "")
    return off_for(profile) if profile in PROFILES else None


def tell(event: Event) -> None:
    """Log, count and trace one decision."""
    telemetry.POLICY_EVENTS.labels(event.edge, event.policy, event.kind, event.reason).inc()
    state, previous = str(event.state), str(event.previous)
    if event.kind == "transition":
        telemetry.BREAKER_STATE.labels(event.edge).set(_STATES.get(state, 0))
    telemetry.record(
        "breaker",
        edge=event.edge,
        policy=event.policy,
        kind=event.kind,
        state=state,
        previous=previous,
        reason=event.reason,
        n=event.n,
        failures=event.failures,
        slow=event.slow,
        attempt=event.attempt,
    )
    if event.kind != "evaluation":
        attributes = {"edge": event.edge, "reason": event.reason, "state": state}
        trace.get_current_span().add_event(f"{event.policy}.{event.kind}", attributes)

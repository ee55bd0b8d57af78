"""Which policies protect which edge (resilience.toml), and where their decisions go: log, metrics, spans."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from opentelemetry import trace

from chassis import telemetry
from chassis.resilience.events import Event
from chassis.resilience.outlier import OutlierEjection
from chassis.resilience.profile import PROFILES, EdgePolicies, ProfileError, build, off_for

RESILIENCE = Path(__file__).parents[1] / "resilience.toml"
OUTLIER = OutlierEjection.kind
_STATES = {"closed": 0, "half_open": 1, "open": 2, "forced_open": 2}


@cache
def tables(path: Path = RESILIENCE) -> Mapping[str, Mapping[str, Any]]:
    """The policy tables by edge, as written. Raises ProfileError naming file and line."""
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path.name}: {error}") from None


class Protection:
    """One edge's policies around its calls, and the ejection of its bad instances beside them."""

    def __init__(self, edge: str, profile: str) -> None:
        spec = {**tables().get("default", {}), **tables().get(edge, {})}
        outlier = spec.pop("outlier", {})
        self.chain: EdgePolicies = build(edge, spec, listener=tell)
        try:
            self.ejection = OutlierEjection(edge, **(outlier or {}), listener=tell)
        except (TypeError, ValueError) as error:
            raise ProfileError(f"{edge}: outlier: {error}") from None
        self.ejection.enabled = outlier is not False
        self.use(profile)
        if self.chain.get("breaker") is not None:
            telemetry.BREAKER_STATE.labels(edge).set(0)

    def use(self, profile: str) -> None:
        """Move to another step of the ladder. Raises ProfileError."""
        self.chain.use(profile)

    def switch(self, kind: str, on: bool) -> None:
        """Turn one policy on or off. Raises ProfileError if this edge has none of the kind."""
        if kind == OUTLIER:
            self.ejection.enabled = on
        else:
            self.chain.switch(kind, on)

    def kinds(self) -> tuple[str, ...]:
        return (*self.chain.kinds(), OUTLIER)

    def usable(self, names: list[str], disabled: frozenset[str] | None) -> list[str]:
        """The instances that are not ejected; all of them where ejection is off for this call."""
        off = self.chain.profile != "full" if disabled is None else OUTLIER in disabled
        return names if off else self.ejection.available(names)

    def snapshot(self) -> dict[str, object]:
        return {**self.chain.snapshot(), OUTLIER: self.ejection.snapshot()}


def change(edges: Mapping[str, Protection], wanted: Mapping[str, Any]) -> None:
    """`{"edge"?, "profile"?, "switches"?: {kind: bool}}`; without an edge, all. Raises ProfileError."""
    unknown = sorted(set(wanted) - {"edge", "profile", "switches"})
    if unknown:
        raise ProfileError(f"unknown field {unknown[0]!r}; expected edge, profile, switches")
    edge = wanted.get("edge")
    if edge is not None and edge not in edges:
        raise ProfileError(f"no edge {edge!r} here; expected one of {', '.join(sorted(edges))}")
    switches = wanted.get("switches", {})
    if not isinstance(switches, dict) or not all(isinstance(on, bool) for on in switches.values()):
        raise ProfileError("switches: expected an object of kind: true or false")
    chosen = list(edges.values()) if edge is None else [edges[edge]]
    # all or nothing: refuse before the first edge has changed
    if "profile" in wanted:
        off_for(wanted["profile"])
    known = {kind for protection in chosen for kind in protection.kinds()}
    absent = sorted(set(switches) - known)
    if absent:
        raise ProfileError(
            f"no policy {absent[0]!r} here; expected one of {', '.join(sorted(known))}"
        )
    for protection in chosen:
        if "profile" in wanted:
            protection.use(wanted["profile"])
        for kind in set(switches) & set(protection.kinds()):
            protection.switch(kind, switches[kind])


def disabled_by(lab_options: Mapping[str, str]) -> frozenset[str] | None:
    """What the lab header `resilience=PROFILE` leaves out for this request; None: nothing said."""
    profile = lab_options.get("resilience", "")
    if profile not in PROFILES:
        return None
    return off_for(profile) | (frozenset() if profile == "full" else {OUTLIER})


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
        host=event.host,
        wait_s=event.wait_s,
    )
    if event.kind != "evaluation":
        attributes = {"edge": event.edge, "reason": event.reason, "state": state}
        trace.get_current_span().add_event(f"{event.policy}.{event.kind}", attributes)

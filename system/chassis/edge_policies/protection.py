"""The policies of one edge around its calls: the chain, the ejection of bad instances, stale answers."""

from functools import partial

from chassis.edge_policies import event_sink
from chassis.edge_policies.configuration import (
    FALLBACK,
    OUTLIER,
    build_beside_chain,
    kinds_off,
    policy_tables,
)
from chassis.resilience.breaker import Breaker
from chassis.resilience.fallback import StaleFallback
from chassis.resilience.outlier import OutlierEjection
from chassis.resilience.policy import Attempt, Call, T
from chassis.resilience.profile import EdgePolicies, build
from chassis.telemetry import signals


class EdgeProtection:
    """Runs the calls of one edge inside its policies. Raises ProfileError for a bad table.

    A stale answer is given only if resilience.toml has a `fallback` table for the edge, and only
    to calls with a key.
    """

    def __init__(self, edge: str, profile: str) -> None:
        spec = policy_tables(edge)
        outlier, fallback = spec.pop(OUTLIER, {}), spec.pop(FALLBACK, False)
        self.chain: EdgePolicies = build(edge, spec, listener=event_sink.record)
        self.ejection = build_beside_chain(edge, OUTLIER, partial(OutlierEjection, edge), outlier)
        self.ejection.enabled = outlier is not False
        self.stale: StaleFallback | None = None
        if fallback is not False:
            self.stale = build_beside_chain(edge, FALLBACK, StaleFallback, fallback)
        breaker = self.chain.get("breaker")
        self.breaker = breaker if isinstance(breaker, Breaker) else None
        if self.breaker is not None:
            signals.BREAKER_STATE.labels(edge).set(0)
        self.use(profile)

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        """Run the call inside its policies. Raises CallError."""
        stale = self.stale
        if stale is None or not stale.enabled or not self._includes(FALLBACK, call):
            return await self.chain.run(attempt, call)
        return await stale.run(partial(self.chain.run, attempt), call)

    def ejects(self, call: Call) -> bool:
        """Whether this call avoids ejected instances."""
        return self._includes(OUTLIER, call)

    def use(self, profile: str) -> None:
        """Change the profile. Raises ProfileError."""
        off = kinds_off(profile)
        self.chain.use(profile)
        self.chain.off = off

    def switch(self, kind: str, on: bool) -> None:
        """Switch one policy on or off. Raises ProfileError if this edge has none of the kind."""
        if kind == OUTLIER:
            self.ejection.enabled = on
        elif kind == FALLBACK and self.stale is not None:
            self.stale.enabled = on
        else:
            self.chain.switch(kind, on)

    def kinds(self) -> tuple[str, ...]:
        """The kinds that can be switched on this edge."""
        return (*self.chain.kinds(), OUTLIER, *((FALLBACK,) if self.stale is not None else ()))

    def snapshot(self) -> dict[str, object]:
        """The live state of all policies, as plain values."""
        view = {**self.chain.snapshot(), OUTLIER: self.ejection.snapshot()}
        if self.stale is not None:
            view[FALLBACK] = self.stale.snapshot()
        if self.chain.budgets:
            retries = self.chain.budgets[0]
            view["budget"] = {
                "kind": "budget",
                "enabled": retries.enabled,
                "tokens": round(retries.tokens, 3),
            }
        return view

    def _includes(self, kind: str, call: Call) -> bool:
        return kind not in (self.chain.off if call.disabled is None else call.disabled)

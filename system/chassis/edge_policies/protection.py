"""Which policies protect which edge (resilience.toml), and in which step of the ladder."""

import tomllib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from chassis.edge_policies.events import tell
from chassis.resilience.breaker import Breaker
from chassis.resilience.fallback import Fallback, StaleFallback
from chassis.resilience.outlier import OutlierEjection
from chassis.resilience.policy import Attempt, Call, T
from chassis.resilience.profile import PROFILES, EdgePolicies, ProfileError, build, off_for
from chassis.resilience.shed import LoadShedder
from chassis.telemetry import signals

RESILIENCE = Path(__file__).parents[2] / "resilience.toml"
OUTLIER, FALLBACK, SHED = OutlierEjection.kind, Fallback.kind, LoadShedder.kind
FULL_ONLY = frozenset({OUTLIER, FALLBACK, SHED})  # beside the chain, in no lower profile
P = TypeVar("P")


@cache
def tables(path: Path = RESILIENCE) -> Mapping[str, Mapping[str, Any]]:
    """The policy tables by edge, as written. Raises ProfileError naming file and line."""
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path.name}: {error}") from None


class Protection:
    """One edge's policies around its calls, the ejection of its bad instances, its stale answers.

    A stale answer is given only where resilience.toml has a `fallback` table for the edge, and only
    to calls with a key. Raises ProfileError.
    """

    def __init__(self, edge: str, profile: str) -> None:
        spec = table_of(edge)
        outlier, fallback = spec.pop(OUTLIER, {}), spec.pop(FALLBACK, False)
        self.chain: EdgePolicies = build(edge, spec, listener=tell)
        self.ejection = make(edge, OUTLIER, partial(OutlierEjection, edge), outlier)
        self.ejection.enabled = outlier is not False
        self.stale: StaleFallback | None = None
        if fallback is not False:
            self.stale = make(edge, FALLBACK, StaleFallback, fallback)
        breaker = self.chain.get("breaker")
        self.breaker = breaker if isinstance(breaker, Breaker) else None
        if self.breaker is not None:
            signals.BREAKER_STATE.labels(edge).set(0)
        self.use(profile)

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        """The call inside its policies. Raises CallError."""
        stale = self.stale
        if stale is None or not stale.enabled or not self._includes(FALLBACK, call):
            return await self.chain.run(attempt, call)
        return await stale.run(partial(self.chain.run, attempt), call)

    def ejects(self, call: Call) -> bool:
        """Whether bad instances are left out for this call."""
        return self._includes(OUTLIER, call)

    def use(self, profile: str) -> None:
        """Move to another step of the ladder. Raises ProfileError."""
        off = left_out(profile)
        self.chain.use(profile)
        self.chain.off = off

    def switch(self, kind: str, on: bool) -> None:
        """Turn one policy on or off. Raises ProfileError if this edge has none of the kind."""
        if kind == OUTLIER:
            self.ejection.enabled = on
        elif kind == FALLBACK and self.stale is not None:
            self.stale.enabled = on
        else:
            self.chain.switch(kind, on)

    def kinds(self) -> tuple[str, ...]:
        return (*self.chain.kinds(), OUTLIER, *((FALLBACK,) if self.stale is not None else ()))

    def snapshot(self) -> dict[str, object]:
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


def table_of(edge: str) -> dict[str, Any]:
    """An edge's own tables over the defaults, by kind."""
    return {**tables().get("default", {}), **tables().get(edge, {})}


def make(edge: str, kind: str, maker: Callable[..., P], table: Any) -> P:
    """A policy beside the chain, from its table. Raises ProfileError."""
    try:
        return maker(**(table if isinstance(table, Mapping) else {}), listener=tell)
    except (TypeError, ValueError) as error:
        raise ProfileError(f"{edge}: {kind}: {error}") from None


def left_out(profile: str) -> frozenset[str]:
    """The kinds that a step of the ladder leaves out, those beside the chain too. Raises ProfileError."""
    return off_for(profile) | (frozenset() if profile == "full" else FULL_ONLY)


def disabled_by(lab_options: Mapping[str, str]) -> frozenset[str] | None:
    """What the lab header `resilience=PROFILE` leaves out for this request; None: nothing said."""
    profile = lab_options.get("resilience", "")
    if profile not in PROFILES:
        return None
    return left_out(profile)

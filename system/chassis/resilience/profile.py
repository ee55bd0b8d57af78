"""Builds the policies of an edge from a plain dict, such as its table in resilience.toml."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Mapping
from typing import Any

from .adaptive_limit import AdaptiveLimit
from .breaker import Breaker
from .budget import RetryBudget
from .bulkhead import Bulkhead
from .clock import SYSTEM_CLOCK, Clock
from .consecutive import ConsecutiveBreaker
from .events import Listener
from .hedge import Hedge
from .limits import Aimd, Gradient2
from .policy import Chain, Policy
from .rate_limiter import RateLimiter
from .retry import Retry
from .settings import SETTINGS, Setting
from .throttle import AdaptiveThrottle
from .timeout import Timeout

KINDS = tuple(SETTINGS)  # outermost first: the order in which they are composed

PROFILES: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "timeouts": frozenset({"timeout"}),
    "retries": frozenset({"timeout", "retry"}),
    "breaker": frozenset({"timeout", "retry", "breaker", "consecutive"}),
    "full": frozenset(KINDS),
}

# These kinds are built for every edge, the others only if the edge's table names them.
DEFAULTS: dict[str, dict[str, Any]] = {
    "timeout": {"seconds": 1.0},
    "retry": {"max_attempts": 3},
    "budget": {},
    "breaker": {
        "window_size": 20,
        "minimum_calls": 10,
        "wait_open_s": 5.0,
        "permitted_half_open": 5,
        "slow_call_rate_threshold": 0.8,
        "slow_call_duration_s": 0.8,
    },
    "bulkhead": {"permits": 50, "queue": 50, "wait_s_max": 0.25},
}


class ProfileError(ValueError):
    """A setting is unknown or wrong. The message names edge, key, value and the expected values."""


class EdgePolicies(Chain):
    """All policies of one edge, with a profile and switches that can change at run time.

    A policy runs if its switch is on and the profile includes it. A call's `disabled` replaces the
    profile's choice.
    """

    def __init__(self, edge: str, policies: list[Policy], budgets: list[RetryBudget]) -> None:
        super().__init__(*policies)
        self.edge = edge
        self.budgets = budgets
        self.profile = "full"

    def use(self, profile: str) -> None:
        """Change the profile: none < timeouts < retries < breaker < full. Raises ProfileError."""
        self.off = off_for(profile)
        self.profile = profile

    def switch(self, kind: str, on: bool) -> None:
        """Switch one policy on or off. Raises ProfileError if the edge has none of this kind."""
        parts: list[Policy | RetryBudget] = [p for p in self.policies if p.kind == kind]
        if kind == "budget":
            parts.extend(self.budgets)
        if not parts:
            raise ProfileError(f"{self.edge}: no policy {kind!r} here; {_one_of(self.kinds())}")
        for part in parts:
            part.enabled = on

    def kinds(self) -> tuple[str, ...]:
        """The kinds that can be switched here, outermost first."""
        inside = {policy.kind for policy in self.policies}
        if self.budgets:
            inside.add("budget")
        return tuple(kind for kind in KINDS if kind in inside)

    def _live(self) -> dict[str, object]:
        return {"edge": self.edge, "profile": self.profile, **super()._live()}


def off_for(profile: str) -> frozenset[str]:
    """The kinds that a profile leaves out, for `Call.disabled`. Raises ProfileError."""
    if not isinstance(profile, str) or profile not in PROFILES:
        raise ProfileError(f"unknown profile {profile!r}; {_one_of(PROFILES, str(profile))}")
    return frozenset(KINDS) - PROFILES[profile]


def build(
    edge: str,
    spec: Mapping[str, Any],
    *,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random | None = None,
    listener: Listener | None = None,
) -> EdgePolicies:
    """The policies of `edge`, built from `spec`. Raises ProfileError.

    `spec` contains `profile` (default "full") and, by kind, a table of SETTINGS, or true for the
    defaults, or false to leave the kind out. The policies of all profiles are built, so that the
    profile can change later.
    """
    tables = dict(DEFAULTS)
    for key, value in spec.items():
        if key == "profile":
            continue
        if key not in SETTINGS:
            raise ProfileError(f"{edge}: unknown key {key!r}; {_one_of(('profile', *KINDS), key)}")
        if value is False:
            tables.pop(key, None)
        elif value is True:
            tables.setdefault(key, {})
        elif isinstance(value, Mapping):
            _check(edge, key, value)
            tables[key] = {**tables.get(key, {}), **value}
        else:
            raise ProfileError(f"{edge}: {key} must be a table or true or false, got {value!r}")
    budgets: list[RetryBudget] = []
    policies: list[Policy] = []
    shared: dict[str, Any] = {"clock": clock, "listener": listener}
    rng = rng or random.Random()
    if "budget" in tables:
        # One for retries, one for hedges: a success must not be deposited twice in the same budget.
        budgets = [_make(edge, "budget", tables["budget"], RetryBudget) for _ in range(2)]
    for_retries, for_hedges = budgets or (None, None)
    makers: dict[str, Callable[..., Policy]] = {
        "retry": lambda **settings: Retry(rng=rng, budget=for_retries, **settings, **shared),
        "throttle": lambda **settings: AdaptiveThrottle(edge, rng=rng, **settings, **shared),
        "breaker": lambda **settings: Breaker(edge, **settings, **shared),
        "consecutive": lambda **settings: ConsecutiveBreaker(edge, **settings, **shared),
        "rate_limiter": lambda rate_per_s=100.0, burst=10, **settings: RateLimiter(
            edge, rate_per_s, burst=burst, **settings, **shared
        ),
        "hedge": lambda **settings: Hedge(budget=for_hedges, **settings, **shared),
        "bulkhead": lambda **settings: Bulkhead(edge, **settings, **shared),
        "adaptive_limit": lambda algorithm="gradient2", **settings: AdaptiveLimit(
            edge, Aimd(**settings) if algorithm == "aimd" else Gradient2(**settings), **shared
        ),
        "timeout": lambda **settings: Timeout(**settings, **shared),
    }
    for kind, maker in makers.items():
        if kind in tables:
            policies.append(_make(edge, kind, tables[kind], maker))
    chain = EdgePolicies(edge, policies, budgets)
    try:
        chain.use(spec.get("profile", "full"))
    except ProfileError as error:
        raise ProfileError(f"{edge}: {error}") from None
    return chain


def _make(edge: str, kind: str, table: Mapping[str, Any], maker: Callable[..., Any]) -> Any:
    try:
        return maker(**table)
    except ValueError as error:
        raise ProfileError(f"{edge}: {kind}.{error}") from None


def _check(edge: str, kind: str, table: Mapping[str, Any]) -> None:
    settings = SETTINGS[kind]
    for key, value in table.items():
        setting = settings.get(key)
        if setting is None:
            raise ProfileError(f"{edge}: unknown key {kind}.{key}; {_one_of(settings, key)}")
        if isinstance(value, bool) or not isinstance(value, setting.types):
            raise ProfileError(f"{edge}: {kind}.{key} must be {_noun(setting)}, got {value!r}")
        if setting.choices and value not in setting.choices:
            raise ProfileError(f"{edge}: {kind}.{key} is {value!r}; {_one_of(setting.choices)}")


def _noun(setting: Setting) -> str:
    noun = {str: "a text", int: "a whole number"}.get(setting.types[0], "a number")
    return f"{'a number' if float in setting.types else noun} ({setting.meaning})"


def _one_of(names: Any, near: str = "") -> str:
    close = difflib.get_close_matches(near, list(names), n=1) if near else []
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"expected one of {', '.join(names)}{hint}"

"""The one interface of all policies, what they may know of a call, and how they compose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol, TypeVar

from .clock import Clock

T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """What a policy may know of one logical call.

    edge        "caller->callee", e.g. "payments->bank"
    operation   route template or name, low cardinality
    idempotent  a safe method, or the request carries an Idempotency-Key
    deadline    absolute, on the clock's monotonic scale (seconds); None: none
    priority    load-shedding class; higher is more important, 0 is dropped first
    attempt     1-based; retry sets it, so afterwards it holds the attempts made
    key         identity of what is asked for, e.g. a product's id; finds stale answers, no label
    disabled    kinds of policies this call leaves out; None: what the chain's profile leaves out
    """

    edge: str
    operation: str = ""
    idempotent: bool = False
    deadline: float | None = None
    priority: int = 0
    attempt: int = 1
    key: str = ""
    disabled: frozenset[str] | None = None

    def remaining(self, clock: Clock) -> float | None:
        """Seconds left until the deadline (never below 0), or None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - clock.monotonic())

    def copy(self) -> Call:
        """A copy for an attempt that runs at the same time as this one."""
        return Call(
            self.edge,
            self.operation,
            self.idempotent,
            self.deadline,
            self.priority,
            self.attempt,
            self.key,
            self.disabled,
        )


Attempt = Callable[[Call], Awaitable[T]]


class Policy(Protocol):
    """Runs an attempt, or refuses to, or runs it again.

    kind     stable name: "timeout", "retry", "breaker", ...; labels events and switches
    enabled  the operator's switch; a chain leaves a policy out while it is off
    """

    kind: ClassVar[str]
    enabled: bool

    async def run(self, attempt: Attempt[T], call: Call) -> T: ...

    def snapshot(self) -> dict[str, object]: ...


class Switchable:
    """What all policies share: a name, a switch, and a description of their live state."""

    kind: ClassVar[str] = ""
    enabled: bool = True

    def snapshot(self) -> dict[str, object]:
        """Live state in a few plain values; safe to print or to send as JSON."""
        return {"kind": self.kind, "enabled": self.enabled, **self._live()}

    def _live(self) -> dict[str, object]:
        return {}


class Chain(Switchable):
    """Policies around one another, outermost first; itself a policy.

    A policy whose switch is off, or whose kind is in `off` (or in the call's `disabled`, which
    then counts instead of `off`), is left out for that call.
    """

    kind: ClassVar[str] = "chain"

    def __init__(self, *policies: Policy, off: frozenset[str] = frozenset()) -> None:
        self.policies = policies
        self.off = off
        self._inner_first = policies[::-1]

    def __iter__(self) -> Iterator[Policy]:
        return iter(self.policies)

    def get(self, kind: str) -> Policy | None:
        """The outermost policy of this kind, if there is one."""
        return next((policy for policy in self.policies if policy.kind == kind), None)

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        if call.disabled is None and self.off:
            call.disabled = self.off  # for policies with parts that can be left out
        off = call.disabled or ()
        for policy in self._inner_first:
            if policy.enabled and policy.kind not in off:
                attempt = partial(policy.run, attempt)
        return await attempt(call)

    def _live(self) -> dict[str, object]:
        return {"off": sorted(self.off), "policies": [p.snapshot() for p in self.policies]}


def compose(*policies: Policy) -> Chain:
    """`compose(a, b, c)` runs a around b around c around the attempt."""
    return Chain(*policies)

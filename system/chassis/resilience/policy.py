"""The interface of all policies, the data of a call, and the composition of policies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

from .clock import Clock
from .events import Event, Kind, Listener, emit

T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """The data of one logical call that policies can use.

    edge        "caller->callee", e.g. "payments->bank"
    operation   route template or name, for labels
    idempotent  a safe method, or a request with an Idempotency-Key
    deadline    absolute, on the clock's monotonic scale (seconds); None: none
    priority    class for load shedding; 0 is shed first
    attempt     1-based; set by retry, so that it ends as the number of attempts
    key         identifies the resource, e.g. a product's id; for stale answers, not for labels
    disabled    kinds of policies that this call leaves out; None: those of the chain's profile
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
        return replace(self)


Attempt = Callable[[Call], Awaitable[T]]


class Policy(Protocol):
    """Runs an attempt, rejects it, or runs it again.

    kind     stable name: "timeout", "retry", "breaker", ...; labels events and switches
    enabled  the operator's switch; a chain leaves out a policy that is off
    """

    kind: ClassVar[str]
    enabled: bool

    async def run(self, attempt: Attempt[T], call: Call) -> T: ...

    def snapshot(self) -> dict[str, object]: ...


class Switchable:
    """The base of all policies: a kind, a switch, events for a listener, a snapshot of the live state."""

    kind: ClassVar[str] = ""
    enabled: bool = True
    clock: Clock
    listener: Listener | None = None

    def snapshot(self) -> dict[str, object]:
        """The live state as plain values that JSON can represent."""
        return {"kind": self.kind, "enabled": self.enabled, **self._live()}

    def _live(self) -> dict[str, object]:
        return {}

    def _report(self, edge: str, kind: Kind, **details: Any) -> None:
        """Send an event with these fields to the listener, if there is one."""
        if self.listener is not None:
            event = Event(self.clock.monotonic(), edge, self.kind, kind, **details)
            emit(self.listener, event)


class Chain(Switchable):
    """Policies around one another, outermost first. A chain is itself a policy.

    A call leaves out each policy that is switched off, or whose kind is in `off`. If the call has
    `disabled`, that is used in place of `off`.
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
            call.disabled = self.off  # for policies that read it, such as a retry with its budget
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

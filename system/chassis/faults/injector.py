"""The injector: which faults are active, whom they hit, and that each of them ends by itself."""

import asyncio
import math
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chassis import telemetry
from chassis.faults.fault import Exchange, Fault, FaultAborted, FaultError, Proceed, build
from chassis.ids import new_id

TTL_S_MAX = 3600.0
POINTS = ("inbound", "outbound", "failpoint")
HISTORY_MAX = 1000
_SCOPE = {
    "route": str, "method": str, "caller": str, "callee": str, "failpoint": str, "arm": str,
    "share": float, "first_n": int, "every_k": int,
}  # fmt: skip


@dataclass
class ActiveFault:
    """One commanded fault; times are seconds since the epoch, None until they happen."""

    id: str
    fault: Fault
    point: str
    scope: dict[str, Any]
    attributes: dict[str, Any]
    seed: int
    ttl_s: float
    commanded_s: float
    rng: Random
    effective_s: float | None = None
    removed_s: float | None = None
    hits: int = 0
    seen: int = 0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    def matches(self, exchange: Exchange) -> bool:
        """Whether this exchange is hit; counts what it saw and draws its share from its own seed."""
        scope = self.scope
        if exchange.point != self.point or exchange.name != scope.get("failpoint", ""):
            return False
        for key in ("method", "caller", "callee"):
            if key in scope and scope[key] != getattr(exchange, key):
                return False
        if "route" in scope and not exchange.route.startswith(scope["route"]):
            return False
        self.seen += 1
        if self.hits >= scope.get("first_n", math.inf):
            return False
        if self.seen % scope.get("every_k", 1):
            return False
        return "share" not in scope or self.rng.random() < scope["share"]

    def view(self) -> dict[str, Any]:
        return {
            "id": self.id, "kind": self.fault.kind, "point": self.point, "scope": self.scope,
            "attributes": self.attributes, "seed": self.seed, "ttl_s": self.ttl_s,
            "commanded_s": self.commanded_s, "effective_s": self.effective_s,
            "removed_s": self.removed_s, "hits": self.hits, "seen": self.seen,
        }  # fmt: skip


class Injector:
    """Holds the active faults of one process. A TTL is enforced here, whoever asked for the fault."""

    def __init__(self, arm: str = "control") -> None:
        self.arm = arm
        self.active: list[ActiveFault] = []
        self.history: list[ActiveFault] = []

    def add(self, spec: dict[str, Any]) -> ActiveFault:
        """Arm a fault from its JSON form (docs/architecture.md). Raises FaultError."""
        unknown = sorted(
            set(spec) - {"id", "kind", "attributes", "point", "scope", "ttl_s", "seed"}
        )
        if unknown:
            raise FaultError(f"unknown field {unknown[0]!r}")
        fault_id = spec.get("id") or new_id()
        if any(active.id == fault_id for active in self.active):
            raise FaultError(f"a fault with the id {fault_id!r} is active already")
        attributes = spec.get("attributes", {})
        if not isinstance(attributes, dict):
            raise FaultError("attributes: expected an object")
        point = spec.get("point", "inbound")
        if point not in POINTS:
            raise FaultError(f"point: expected one of {', '.join(POINTS)}, got {point!r}")
        ttl_s = spec.get("ttl_s")
        if (
            isinstance(ttl_s, bool)
            or not isinstance(ttl_s, int | float)
            or not 0 < ttl_s <= TTL_S_MAX
        ):
            raise FaultError(
                f"ttl_s: expected seconds above 0 and up to {TTL_S_MAX:g}, got {ttl_s!r}"
            )
        seed = spec.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise FaultError(f"seed: expected a whole number, got {seed!r}")
        scope = _checked_scope(spec.get("scope", {}), point)
        active = ActiveFault(
            str(fault_id), build(str(spec.get("kind")), attributes), point, scope, attributes, seed,
            float(ttl_s), time.time(), Random(seed),
        )  # fmt: skip
        if scope.get("arm", self.arm) == self.arm:
            self.active.append(active)
        active.timer = asyncio.get_running_loop().call_later(ttl_s, self.remove, active.id)
        self.history = [*self.history[-HISTORY_MAX:], active]
        self._tell(active, "commanded")
        return active

    def remove(self, fault_id: str) -> bool:
        """Disarm one fault; False if no active one has this id."""
        for active in self.history:
            if active.id == fault_id and active.removed_s is None:
                self.active = [other for other in self.active if other is not active]
                active.removed_s = time.time()
                if active.timer:
                    active.timer.cancel()
                self._tell(active, "removed")
                return True
        return False

    def clear(self) -> int:
        """Disarm all; returns how many there were."""
        return sum(self.remove(active.id) for active in self.history if active.removed_s is None)

    async def run(self, exchange: Exchange, proceed: Proceed) -> Any:
        """Run the exchange through every fault that hits it, the oldest outermost."""
        for active in reversed(self.active):
            if active.matches(exchange):
                proceed = self._around(active, proceed)
        return await proceed()

    def _around(self, active: ActiveFault, inner: Proceed) -> Proceed:
        async def proceed(discard: bool = False) -> Any:
            active.hits += 1
            if active.effective_s is None:
                active.effective_s = time.time()
                self._tell(active, "effective")

            async def onward(discard: bool = discard) -> Any:
                return await inner(discard)

            try:
                return await active.fault.run(onward, active.rng)
            except FaultAborted as abort:
                raise FaultAborted(abort.status, abort.fault_id or active.id) from None

        return proceed

    def _tell(self, active: ActiveFault, phase: str) -> None:
        view = active.view()
        telemetry.record("fault", phase=phase, fault_id=view.pop("id"), **view)


_current: Injector | None = None


def install(injector: Injector) -> None:
    """Make this the process's injector, the one that failpoints ask."""
    global _current
    _current = injector


async def failpoint(name: str) -> None:
    """A named place where the lab may crash or delay the process; nothing otherwise."""
    if _current is not None and _current.active:
        await _current.run(Exchange(point="failpoint", name=name), _nothing)


async def _nothing(discard: bool = False) -> None:
    return None


def _checked_scope(scope: Any, point: str) -> dict[str, Any]:
    if not isinstance(scope, dict):
        raise FaultError("scope: expected an object")
    for key, value in scope.items():
        expected = _SCOPE.get(key)
        if expected is None:
            raise FaultError(f"scope: unknown key {key!r}; expected one of {', '.join(_SCOPE)}")
        if expected is str:
            if not isinstance(value, str):
                raise FaultError(f"scope.{key}: expected text, got {value!r}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise FaultError(f"scope.{key}: expected a number, got {value!r}")
    if not 0 <= scope.get("share", 1) <= 1:
        raise FaultError(f"scope.share: expected 0 to 1, got {scope['share']!r}")
    for key in ("first_n", "every_k"):
        if key in scope and (scope[key] < 1 or scope[key] != int(scope[key])):
            raise FaultError(
                f"scope.{key}: expected a whole number of 1 or more, got {scope[key]!r}"
            )
    if (point == "failpoint") != ("failpoint" in scope):
        raise FaultError("point 'failpoint' goes with scope.failpoint, the name of the point")
    return dict(scope)

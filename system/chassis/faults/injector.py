"""The injector: which faults are active, whom they hit, and that each of them ends by itself."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

from chassis.faults import scope as scopes
from chassis.faults.active import SPEC_FIELDS, ActiveFault
from chassis.faults.fault import (
    POINTS,
    PROCESS,
    Act,
    Exchange,
    FaultAborted,
    FaultError,
    Proceed,
    build,
    nearest,
    points_of,
)
from chassis.faults.host import Host, Tenure
from chassis.faults.kept import KeptFaults
from chassis.ids import new_id
from chassis.telemetry import metrics, signals

log = logging.getLogger("chassis.faults")
IN_EFFECT = metrics.gauge(
    "breakwater_fault_active", "1 while a fault is in effect", ("fault", "kind")
)
TTL_S_MAX = 3600.0
HISTORY_MAX = 1000
HOLD_S = 5.0  # a standing fault that is not in force by then is refused
UNDO_S = 5.0


class Injector:
    """Holds the active faults of one process. A TTL is enforced here, whoever asked for the fault.

    `keep` is the file in which faults that outlive a restart are kept; without it they are refused.
    """

    def __init__(
        self, arm: str = "control", host: Host | None = None, keep: Path | None = None
    ) -> None:
        self.host = host or Host(arm=arm)
        self.active: list[ActiveFault] = []  # those that exchanges are matched with: nothing else
        self.history: list[ActiveFault] = []
        self._kept = KeptFaults(keep)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def armed(self) -> list[ActiveFault]:
        """All that is not over, the standing faults too."""
        return [each for each in self.history if each.removed_s is None]

    async def add(self, spec: dict[str, Any]) -> ActiveFault:
        """Arm a fault from its JSON form (docs/architecture.md); a standing one is in force on return.

        Raises FaultError, and then nothing has changed.
        """
        active = self._read(spec)
        await self._arm(active)
        return active

    async def restore(self) -> None:
        """Arm again what the instance's earlier process kept, for what is left of each TTL."""
        for row in self._kept.read():
            try:
                active = self._read(row["spec"])
            except FaultError as error:
                log.error("a kept fault is forgotten: %s", error)
                continue
            active.commanded_s = float(row["commanded_s"])
            active.hits = active.scope.hits = int(row.get("hits", 0))
            if active.expires_s > time.time():
                await self._arm(active)
                continue
            active.removed_s = active.expires_s  # it was over while nobody was here to say so
            self._remember(active)
            self._tell(active, "removed")
        self._keep()

    async def remove(self, fault_id: str) -> bool:
        """Disarm one fault and undo it; False if no active one has this id."""
        for active in self.armed:
            if active.id == fault_id:
                await self._end(active)
                return True
        return False

    async def clear(self) -> int:
        """Disarm all; returns how many there were."""
        armed = self.armed
        await asyncio.gather(*(self._end(each) for each in armed))
        return len(armed)

    async def close(self) -> None:
        """The process ends: undo all, but what shall outlive a restart stays kept."""
        self._kept = KeptFaults(None)
        await self.clear()

    async def run(self, exchange: Exchange, act: Act) -> Any:
        """Run the exchange through every fault that hits it, the oldest outermost."""
        for active in reversed(self.active):
            if active.scope.takes(exchange, active.rng):
                act = self._around(active, exchange, act)
        return await act(False)

    # -- one fault's life -------------------------------------------------------------------

    def _read(self, spec: dict[str, Any]) -> ActiveFault:
        for name in spec:
            if name not in SPEC_FIELDS:
                raise FaultError(f"unknown field {name!r}{nearest(name, SPEC_FIELDS)}")
        attributes = spec.get("attributes", {})
        if not isinstance(attributes, dict):
            raise FaultError("attributes: expected an object")
        point = spec.get("point")
        if point is not None and point not in POINTS:
            raise FaultError(f"point: unknown {point!r}{nearest(str(point), POINTS)}")
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
        fault = build(str(spec.get("kind")), attributes)
        point = point or points_of(fault)[0]
        if point not in points_of(fault):
            allowed = ", ".join(points_of(fault))
            raise FaultError(f"{fault.kind} cannot be at point {point}, only at: {allowed}")
        keys = scopes.checked(spec.get("scope", {}), point)
        needed = getattr(fault, "needs_any", ())
        if needed and not any(key in keys for key in needed):
            raise FaultError(f"{fault.kind} needs scope.{' or scope.'.join(needed)}")
        fault_id = spec.get("fault_id") or new_id()
        self._check_free(fault_id, fault)
        return ActiveFault(
            str(fault_id), self.host.instance, fault, point, _scope(fault, point, keys), attributes, seed,
            float(ttl_s), time.time(), Random(seed),
        )  # fmt: skip

    def _check_free(self, fault_id: Any, fault: Any) -> None:
        for other in self.armed:
            if other.id == str(fault_id):
                raise FaultError(f"a fault with the id {fault_id!r} is active already")
            if other.fault.kind == fault.kind and getattr(fault, "single", False):
                raise FaultError(
                    f"only one {fault.kind} at a time: {other.id} is active, remove it first"
                )
        if getattr(fault, "survives", False) and not self._kept.possible:
            raise FaultError(
                f"{fault.kind} must outlive a restart: start the instance with LAB_FAULTS, "
                "a folder to keep such faults in"
            )

    async def _arm(self, active: ActiveFault) -> None:
        self._remember(active)
        self._tell(active, "commanded")
        left_s = max(0.0, active.expires_s - time.time())
        active.timer = asyncio.get_running_loop().call_later(left_s, self._expire, active)
        keys, host = active.scope.keys, self.host
        meant = keys.get("arm", host.arm) == host.arm
        meant = meant and keys.get("version", host.version) == host.version
        if meant and active.point == PROCESS:
            await self._stand(active)
        elif meant:
            self.active.append(active)
        self._keep()

    def _remember(self, active: ActiveFault) -> None:
        over = [each for each in self.history if each.removed_s is not None]
        if len(over) > HISTORY_MAX:
            self.history.remove(over[0])
        self.history.append(active)

    async def _stand(self, active: ActiveFault) -> None:
        """Put a standing fault in force, or take it back and say why not."""
        in_force: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        active.holder = asyncio.create_task(self._hold(active, in_force), name=active.id)
        try:
            await asyncio.wait_for(asyncio.shield(in_force), HOLD_S)
        except BaseException as error:
            active.holder.cancel()
            await asyncio.wait([active.holder])
            self._over(active)
            if isinstance(error, TimeoutError):
                raise FaultError(
                    f"{active.fault.kind} was not in force after {HOLD_S:g} s"
                ) from None
            raise

    async def _hold(self, active: ActiveFault, in_force: asyncio.Future[None]) -> None:
        ends_at = time.monotonic() + active.expires_s - time.time()
        tenure = Tenure(self.host, ends_at, active.ended, lambda: self._hit(active))
        try:
            async with active.fault.hold(tenure):
                in_force.set_result(None)
                await active.ended.wait()
        except Exception as error:
            if in_force.done():
                log.exception("fault %s was not undone cleanly", active.id)
            else:
                in_force.set_exception(error)

    def _around(self, active: ActiveFault, exchange: Exchange, inner: Act) -> Act:
        async def act(discard: bool) -> Any:
            self._hit(active)

            async def onward(further: bool) -> Any:
                return await inner(discard or further)

            try:
                proceed = Proceed(onward, exchange, active.ended)
                return await active.fault.run(proceed, active.rng)
            except FaultAborted as abort:
                raise FaultAborted(abort.status, abort.fault_id or active.id) from None

        return act

    def _hit(self, active: ActiveFault) -> None:
        active.hits += 1
        if active.effective_s is None:
            active.effective_s = time.time()
            self._tell(active, "effective")
        if getattr(active.fault, "survives", False):
            self._keep()

    def _expire(self, active: ActiveFault) -> None:
        self._spawn(self._end(active))

    async def _end(self, active: ActiveFault) -> None:
        """Undo it; whoever asks second waits for the first."""
        if not active.ended.is_set():
            active.ended.set()
            self.active = [other for other in self.active if other is not active]
            if active.holder is not None:
                _, late = await asyncio.wait([active.holder], timeout=UNDO_S)
                for task in late:
                    log.error("fault %s is slow to be undone: cancelled", active.id)
                    task.cancel()
            self._over(active)
        await active.gone.wait()

    def _over(self, active: ActiveFault) -> None:
        if active.gone.is_set():
            return
        active.ended.set()
        active.removed_s = time.time()
        if active.timer:
            active.timer.cancel()
        active.gone.set()
        self._keep()
        self._tell(active, "removed")

    def _keep(self) -> None:
        with contextlib.suppress(OSError):
            self._kept.write(each for each in self.armed if getattr(each.fault, "survives", False))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self, active: ActiveFault, phase: str) -> None:
        series = active.id, active.fault.kind
        if phase == "effective":
            metrics.expose(IN_EFFECT)
            IN_EFFECT.labels(*series).set(1)
        elif phase == "removed" and active.effective_s is not None:
            IN_EFFECT.remove(*series)
        signals.record("fault", phase=phase, **active.record.to_row())


_current = Injector()


def install(injector: Injector) -> None:
    """Make this the process's injector, the one that the chassis' hooks ask."""
    global _current
    _current = injector


def armed() -> Injector | None:
    """The process's injector if any exchange could be hit, else None: what a hook costs at rest."""
    return _current if _current.active else None


async def failpoint(name: str) -> None:
    """A named place where the lab may crash or delay the process; nothing otherwise."""
    if injector := armed():
        await injector.run(Exchange(point="failpoint", name=name), _nothing)


def _scope(fault: Any, point: str, keys: dict[str, Any]) -> scopes.Scope:
    return scopes.Scope(point, keys, sticky=set() if getattr(fault, "sticky", False) else None)


async def _nothing(discard: bool) -> None:
    return None

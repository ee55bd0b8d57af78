"""The injector of a process: arms faults, applies them to exchanges, and ends each at its TTL."""

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
    Fault,
    FaultAbortedError,
    FaultError,
    Proceed,
    build,
    nearest,
)
from chassis.faults.host import Holding, Host
from chassis.faults.kept import KeptFaults
from chassis.ids import new_id
from chassis.telemetry import metrics, signals

log = logging.getLogger("chassis.faults")
IN_EFFECT = metrics.gauge(
    "breakwater_fault_active", "1 while a fault is in effect", ("fault", "kind")
)
TTL_S_MAX = 3600.0
HISTORY_MAX = 1000
HOLD_S = 5.0  # a fault of the process that is not effective by then is refused
UNDO_S = 5.0


class Injector:
    """The faults of one process. It enforces their TTL itself.

    `keep` is the file for faults that outlive a restart; without it they are refused.
    """

    def __init__(
        self, arm: str = "control", host: Host | None = None, keep: Path | None = None
    ) -> None:
        self.host = host or Host(arm=arm)
        self.active: list[ActiveFault] = []  # only those that exchanges are matched with
        self.history: list[ActiveFault] = []
        self._kept = KeptFaults(keep)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def armed(self) -> list[ActiveFault]:
        """All that have not ended, with those of the whole process."""
        return [each for each in self.history if each.removed_s is None]

    async def add(self, spec: dict[str, Any]) -> ActiveFault:
        """Arms a fault from its JSON form (docs/architecture.md). One of the process is effective on return.

        Raises FaultError, and then nothing has changed.
        """
        active = self._read(spec)
        await self._arm(active)
        return active

    async def restore(self) -> None:
        """Arms again the saved faults of the instance's earlier process, for the rest of each TTL."""
        for row in self._kept.read():
            try:
                active = self._read(row["spec"])
            except FaultError as error:
                log.error("a saved fault is dropped: %s", error)
                continue
            active.commanded_s = float(row["commanded_s"])
            active.hits = active.scope.hits = int(row.get("hits", 0))
            if active.expires_s > time.time():
                await self._arm(active)
                continue
            active.removed_s = active.expires_s  # it ended while the instance was down
            self._remember(active)
            self._report(active, "removed")
        self._keep()

    async def remove(self, fault_id: str) -> bool:
        """Removes one fault; False if no armed fault has this id."""
        for active in self.armed:
            if active.id == fault_id:
                await self._end(active)
                return True
        return False

    async def clear(self) -> int:
        """Removes all faults; returns their number."""
        armed = self.armed
        await asyncio.gather(*(self._end(each) for each in armed))
        return len(armed)

    async def close(self) -> None:
        """At the process' end: removes all, but faults that outlive a restart stay in their file."""
        self._kept = KeptFaults(None)
        await self.clear()

    async def run(self, exchange: Exchange, act: Act) -> Any:
        """Runs the exchange through every fault that hits it, the oldest outermost."""
        for active in reversed(self.active):
            if active.scope.takes(exchange, active.rng):
                act = self._wrapped(active, exchange, act)
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
        point = point or fault.points[0]
        if point not in fault.points:
            allowed = ", ".join(fault.points)
            raise FaultError(f"{fault.kind} cannot be at point {point}, only at: {allowed}")
        keys = scopes.checked(spec.get("scope", {}), point)
        if fault.needs_any and not any(key in keys for key in fault.needs_any):
            raise FaultError(f"{fault.kind} needs scope.{' or scope.'.join(fault.needs_any)}")
        fault_id = spec.get("fault_id") or new_id()
        self._check_free(fault_id, fault)
        return ActiveFault(
            str(fault_id), self.host.instance, fault, point, _scope(fault, point, keys), attributes, seed,
            float(ttl_s), time.time(), Random(seed),
        )  # fmt: skip

    def _check_free(self, fault_id: Any, fault: Fault) -> None:
        for other in self.armed:
            if other.id == str(fault_id):
                raise FaultError(f"a fault with the id {fault_id!r} is active already")
            if other.fault.kind == fault.kind and fault.single:
                raise FaultError(
                    f"only one {fault.kind} at a time: {other.id} is active, remove it first"
                )
        if fault.survives and not self._kept.possible:
            raise FaultError(
                f"{fault.kind} must outlive a restart: start the instance with LAB_FAULTS, "
                "the folder for such faults"
            )

    async def _arm(self, active: ActiveFault) -> None:
        self._remember(active)
        self._report(active, "commanded")
        left_s = max(0.0, active.expires_s - time.time())
        active.timer = asyncio.get_running_loop().call_later(left_s, self._expire, active)
        keys, host = active.scope.keys, self.host
        chosen = keys.get("arm", host.arm) == host.arm
        chosen = chosen and keys.get("version", host.version) == host.version
        if chosen and active.point == PROCESS:
            await self._apply(active)
        elif chosen:
            self.active.append(active)
        self._keep()

    def _remember(self, active: ActiveFault) -> None:
        over = [each for each in self.history if each.removed_s is not None]
        if len(over) > HISTORY_MAX:
            self.history.remove(over[0])
        self.history.append(active)

    async def _apply(self, active: ActiveFault) -> None:
        """Applies a fault of the process. Raises FaultError, and then it is removed."""
        effective: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        active.holder = asyncio.create_task(self._hold(active, effective), name=active.id)
        try:
            await asyncio.wait_for(asyncio.shield(effective), HOLD_S)
        except BaseException as error:
            active.holder.cancel()
            await asyncio.wait([active.holder])
            self._over(active)
            if isinstance(error, TimeoutError):
                raise FaultError(
                    f"{active.fault.kind} was not effective after {HOLD_S:g} s"
                ) from None
            raise

    async def _hold(self, active: ActiveFault, effective: asyncio.Future[None]) -> None:
        ends_at = time.monotonic() + active.expires_s - time.time()
        holding = Holding(self.host, ends_at, active.ended, lambda: self._hit(active))
        try:
            async with active.fault.hold(holding):
                effective.set_result(None)
                await active.ended.wait()
        except Exception as error:
            if effective.done():
                log.exception("fault %s was not removed cleanly", active.id)
            else:
                effective.set_exception(error)

    def _wrapped(self, active: ActiveFault, exchange: Exchange, inner: Act) -> Act:
        async def act(discard: bool) -> Any:
            self._hit(active)

            async def onward(further: bool) -> Any:
                return await inner(discard or further)

            try:
                proceed = Proceed(onward, exchange, active.ended)
                return await active.fault.run(proceed, active.rng)
            except FaultAbortedError as abort:
                raise FaultAbortedError(abort.status, abort.fault_id or active.id) from None

        return act

    def _hit(self, active: ActiveFault) -> None:
        active.hits += 1
        if active.effective_s is None:
            active.effective_s = time.time()
            self._report(active, "effective")
        if active.fault.survives:
            self._keep()

    def _expire(self, active: ActiveFault) -> None:
        self._spawn(self._end(active))

    async def _end(self, active: ActiveFault) -> None:
        """Removes it; a second call waits for the first."""
        if not active.ended.is_set():
            active.ended.set()
            self.active = [other for other in self.active if other is not active]
            if active.holder is not None:
                _, late = await asyncio.wait([active.holder], timeout=UNDO_S)
                for task in late:
                    log.error("fault %s takes too long to be removed: cancelled", active.id)
                    task.cancel()
            self._over(active)
        await active.removed.wait()

    def _over(self, active: ActiveFault) -> None:
        if active.removed.is_set():
            return
        active.ended.set()
        active.removed_s = time.time()
        if active.timer:
            active.timer.cancel()
        active.removed.set()
        self._keep()
        self._report(active, "removed")

    def _keep(self) -> None:
        with contextlib.suppress(OSError):
            self._kept.write(each for each in self.armed if each.fault.survives)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _report(self, active: ActiveFault, phase: str) -> None:
        series = active.id, active.fault.kind
        if phase == "effective":
            metrics.expose(IN_EFFECT)
            IN_EFFECT.labels(*series).set(1)
        elif phase == "removed" and active.effective_s is not None:
            IN_EFFECT.remove(*series)
        signals.record("fault", phase=phase, **active.record.to_row())


_current = Injector()


def install(injector: Injector) -> None:
    """Makes this the process' injector, which the chassis' hooks use."""
    global _current
    _current = injector


def armed() -> Injector | None:
    """The process' injector if a fault could hit an exchange, else None: a hook's whole cost without faults."""
    return _current if _current.active else None


def armed_at(*points: str) -> bool:
    """Whether a fault could hit an exchange at one of these points."""
    return any(active.point in points for active in _current.active)


async def failpoint(name: str) -> None:
    """A named place in the code where a fault can crash or delay the process; without one it does nothing."""
    if injector := armed():
        await injector.run(Exchange(point="failpoint", name=name), _nothing)


def _scope(fault: Fault, point: str, keys: dict[str, Any]) -> scopes.Scope:
    return scopes.Scope(point, keys, sticky=set() if fault.sticky else None)


async def _nothing(discard: bool) -> None:
    return None

"""Faults of whole processes, applied by the supervisor, which ends each at its TTL."""

import asyncio
import math
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from chassis.fault_record import FaultRecord
from lab.fault_kinds.processes import KINDS, TTL_S_MAX
from lab.runtimes.supervisor.managed_process import (
    GONE_S,
    READY_S,
    Holdable,
    HoldRefusedError,
    ManagedProcess,
    State,
)

LOOK_S = 0.005
HISTORY_MAX = 1000
FIELDS = ("fault_id", "kind", "target", "ttl_s", "attributes", "scope", "point", "seed")


class ProcessFaultError(ValueError):
    """The fault is refused and nothing has changed; the message gives the expected values."""


@dataclass
class ProcessFault:
    """One fault on one process. Times are seconds since the epoch, None until they happen."""

    id: str
    kind: str
    process: ManagedProcess
    ttl_s: float | None
    attributes: dict[str, float]
    commanded_s: float
    effective_s: float | None = None
    removed_s: float | None = None
    hits: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def record(self) -> FaultRecord:
        return FaultRecord(
            self.id, self.kind, self.process.spec.name, "process", {}, self.attributes, None, self.ttl_s,
            self.commanded_s, self.effective_s, self.removed_s, self.hits, self.evidence,
        )  # fmt: skip


async def send_signal(
    process: ManagedProcess, number: signal.Signals, *, restart: bool
) -> float | None:
    """Sends a signal, for faults and for `lab kill` alike; without `restart` the process stays down.

    Waits until SIGSTOP has stopped the process, or SIGKILL or SIGTERM has ended it and its exit status is known.
    Returns when that was seen (epoch seconds), None if it was not.
    """
    pid, identity = process.pid, process.identity
    process.send(number, restart=restart)
    if number is signal.SIGSTOP:
        return time.time() if await _until(process.is_stopped) else None
    if number not in (signal.SIGKILL, signal.SIGTERM):
        return time.time()
    if not await _until(lambda: not process.is_alive(pid, identity)):
        return None
    ended_s = time.time()
    await process.wait_exited(identity)
    return ended_s


class ProcessFaults:
    """Applies and removes faults; needs a running event loop. `report` is called at each phase of a fault."""

    def __init__(self, report: Callable[[FaultRecord, str], None]) -> None:
        self.history: list[ProcessFault] = []
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()
        self._releasing: dict[str, asyncio.Task[None]] = {}

    @property
    def armed(self) -> list[ProcessFault]:
        """The faults that have not ended."""
        return [each for each in self.history if each.removed_s is None]

    async def add(
        self, spec: dict[str, Any], processes: list[ManagedProcess]
    ) -> list[ProcessFault]:
        """Effective on all of `processes` on return. Raises ProcessFaultError, and then it is on none."""
        kind, ttl_s, attributes = _checked(spec)
        for process in processes:
            self._check_free(process, kind)
        stem = str(spec.get("fault_id") or f"{kind}-{uuid.uuid4().hex[:8]}")
        faults = [
            ProcessFault(
                f"{stem}-{process.spec.name}", kind, process, ttl_s, attributes, time.time()
            )
            for process in processes
        ]
        self.history = [*self.history[-HISTORY_MAX:], *faults]
        for fault in faults:
            self._report(fault.record, "commanded")
            if ttl_s is not None:
                fault.timer = asyncio.get_running_loop().call_later(ttl_s, self._end, fault)
        try:
            await asyncio.gather(*(self._apply(fault) for fault in faults))
        except HoldRefusedError as error:
            for fault in faults:
                self._end(fault)
            raise ProcessFaultError(str(error)) from None
        return faults

    async def clear(self, names: list[str] | None = None) -> int:
        """Ends all faults, or those of these processes, now; returns their number."""
        chosen = [f for f in self.armed if names is None or f.process.spec.name in names]
        for fault in chosen:
            self._end(fault)
        await asyncio.gather(
            *(self._releasing[each.id] for each in chosen if each.id in self._releasing)
        )
        return len(chosen)

    # -- one fault's life -------------------------------------------------------------------

    def _check_free(self, process: ManagedProcess, kind: str) -> None:
        name = process.spec.name
        if KINDS[kind].signal is None and not isinstance(process, Holdable):
            raise ProcessFaultError(
                f"{name} is no container: {kind} needs `lab up --runtime compose`"
            )
        if not process.pid:
            raise ProcessFaultError(f"{name} is not running ({process.state}); see `lab status`")
        if process.paused:
            raise ProcessFaultError(
                f"{name} is paused; resume it first: `lab kill {name} --signal CONT`"
            )
        for other in self.armed:
            if other.process is process:
                raise ProcessFaultError(
                    f"{name} has {other.id} already: wait until it ends, or clear it"
                )

    async def _apply(self, fault: ProcessFault) -> None:
        process, number = fault.process, KINDS[fault.kind].signal
        if number is None:
            await self._hold(fault)
            return
        fault.evidence = {"pid": process.pid, "signal": number.name}
        effective_s = await send_signal(process, number, restart=fault.kind != "outage")
        if effective_s is not None and effective_s <= (fault.removed_s or effective_s):
            fault.effective_s, fault.hits = effective_s, 1
            self._report(fault.record, "effective")
        if fault.kind != "pause":
            fault.evidence["exit"] = process.last_exit
        if fault.ttl_s is None:
            self._spawn(self._until_back(fault))

    async def _hold(self, fault: ProcessFault) -> None:
        assert isinstance(fault.process, Holdable)
        fault.evidence = {"pid": fault.process.pid}
        fault.evidence |= await fault.process.hold(fault.kind, fault.attributes)
        if fault.removed_s is not None:  # its TTL ended while the engine was applying it
            await fault.process.release(fault.kind, fault.evidence)
            return
        fault.effective_s, fault.hits = time.time(), 1
        self._report(fault.record, "effective")

    async def _release(self, fault: ProcessFault) -> None:
        assert isinstance(fault.process, Holdable)
        try:
            fault.evidence |= await fault.process.release(fault.kind, fault.evidence)
        except HoldRefusedError as error:
            fault.evidence["left"] = str(error)
        del self._releasing[fault.id]
        self._removed(fault)

    def _end(self, fault: ProcessFault) -> None:
        """Ends it; a kill ends by itself when the process is ready again."""
        if fault.removed_s is not None:
            return
        if fault.timer is not None:
            fault.timer.cancel()
        process = fault.process
        if KINDS[fault.kind].signal is None and fault.effective_s is not None:
            if fault.id not in self._releasing:
                self._releasing[fault.id] = self._spawn(self._release(fault))
            return
        if fault.kind == "pause" and process.pid == fault.evidence.get("pid"):
            fault.evidence["stopped_until_the_end"] = process.is_stopped()
            process.send(signal.SIGCONT, restart=True)
        elif fault.kind == "outage":
            process.start()
            self._spawn(self._when_ready(fault))
        self._removed(fault)

    def _removed(self, fault: ProcessFault) -> None:
        fault.removed_s = time.time()
        self._report(fault.record, "removed")

    async def _until_back(self, fault: ProcessFault) -> None:
        await self._when_ready(fault)
        if fault.removed_s is None:
            self._removed(fault)

    async def _when_ready(self, fault: ProcessFault) -> None:
        """Records after how many seconds the process was ready again."""
        await _until(lambda: fault.process.state is State.READY, READY_S, look_s=0.02)
        if fault.process.state is State.READY:
            fault.evidence["back_s"] = round(time.time() - fault.commanded_s, 3)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _checked(spec: dict[str, Any]) -> tuple[str, float | None, dict[str, float]]:
    for name in spec:
        if name not in FIELDS:
            raise ProcessFaultError(f"unknown field {name!r}: expected one of {', '.join(FIELDS)}")
    kind = str(spec.get("kind"))
    if kind not in KINDS:
        raise ProcessFaultError(
            f"unknown fault of processes {kind!r}: expected one of {', '.join(KINDS)}"
        )
    attributes = spec.get("attributes") or {}
    least = KINDS[kind].attributes
    if spec.get("scope") or set(attributes) != set(least):
        wanted = f"the attributes {', '.join(least)}" if least else "no attributes"
        raise ProcessFaultError(f"{kind} hits a whole process: it takes {wanted} and no scope")
    for name, value in attributes.items():
        if not _number(value) or value < least[name]:
            raise ProcessFaultError(
                f"{name}: expected a number from {least[name]:g}, got {value!r}"
            )
    if spec.get("point") not in (None, "process"):
        raise ProcessFaultError(f"{kind} is at point process only, got {spec['point']!r}")
    if not KINDS[kind].lasts:
        return kind, None, attributes
    ttl_s = spec.get("ttl_s")
    if not _number(ttl_s) or not 0 < ttl_s <= TTL_S_MAX:
        raise ProcessFaultError(
            f"ttl_s: expected seconds above 0 and up to {TTL_S_MAX:g}, got {ttl_s!r}"
        )
    return kind, float(ttl_s), attributes


def _number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


async def _until(
    condition: Callable[[], bool], timeout_s: float = GONE_S, look_s: float = LOOK_S
) -> bool:
    give_up = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up:
            return False
        await asyncio.sleep(look_s)
    return True

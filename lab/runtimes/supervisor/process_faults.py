"""Faults of whole processes, held by the supervisor: each is undone at its TTL, whoever asked and died since."""

import asyncio
import math
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard

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
FIELDS = ("id", "kind", "target", "ttl_s", "attributes", "scope", "point", "seed")


class Refused(ValueError):
    """The fault cannot be as asked; the message says what is expected. Nothing has changed."""


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

    def view(self) -> dict[str, Any]:
        """In the form of the services' own faults, and which process it is."""
        return {
            "id": self.id, "kind": self.kind, "point": "process", "scope": {},
            "attributes": self.attributes, "seed": 0, "ttl_s": self.ttl_s, "commanded_s": self.commanded_s,
            "effective_s": self.effective_s, "removed_s": self.removed_s, "hits": self.hits,
            "seen": self.hits, "target": self.process.spec.name, "pid": self.process.pid,
            "evidence": self.evidence,
        }  # fmt: skip


class ProcessFaults:
    """Puts them in force and undoes them; needs a running event loop. `tell` writes a log record."""

    def __init__(self, tell: Callable[[ProcessFault, str], None]) -> None:
        self.history: list[ProcessFault] = []
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()
        self._releasing: dict[str, asyncio.Task[None]] = {}

    @property
    def armed(self) -> list[ProcessFault]:
        """All that is not over."""
        return [each for each in self.history if each.removed_s is None]

    async def add(
        self, spec: dict[str, Any], processes: list[ManagedProcess]
    ) -> list[ProcessFault]:
        """In force on return, on all of `processes`. Raises Refused, and then on none of them."""
        kind, ttl_s, attributes = _checked(spec)
        for process in processes:
            self._check_free(process, kind)
        stem = str(spec.get("id") or f"{kind}-{uuid.uuid4().hex[:8]}")
        faults = [
            ProcessFault(
                f"{stem}-{process.spec.name}", kind, process, ttl_s, attributes, time.time()
            )
            for process in processes
        ]
        self.history = [*self.history[-HISTORY_MAX:], *faults]
        for fault in faults:
            self._tell(fault, "commanded")
            if ttl_s is not None:
                fault.timer = asyncio.get_running_loop().call_later(ttl_s, self._undo, fault)
        try:
            await asyncio.gather(*(self._put_in_force(fault) for fault in faults))
        except HoldRefusedError as error:
            for fault in faults:
                self._undo(fault)
            raise Refused(str(error)) from None
        return faults

    async def clear(self, names: list[str] | None = None) -> int:
        """Undo all, or those of these processes, now; how many that were."""
        chosen = [f for f in self.armed if names is None or f.process.spec.name in names]
        for fault in chosen:
            self._undo(fault)
        await asyncio.gather(
            *(self._releasing[each.id] for each in chosen if each.id in self._releasing)
        )
        return len(chosen)

    # -- one fault's life -------------------------------------------------------------------

    def _check_free(self, process: ManagedProcess, kind: str) -> None:
        name = process.spec.name
        if KINDS[kind].signal is None and not isinstance(process, Holdable):
            raise Refused(f"{name} is no container: {kind} needs `lab up --runtime compose`")
        if not process.pid:
            raise Refused(f"{name} is not running ({process.state}); `lab status` says more")
        if process.paused:
            raise Refused(f"{name} is paused; let it go on first: `lab kill {name} --signal CONT`")
        for other in self.armed:
            if other.process is process:
                raise Refused(f"{name} has {other.id} already: wait until it ends, or clear it")

    async def _put_in_force(self, fault: ProcessFault) -> None:
        process, pid, identity = fault.process, fault.process.pid, fault.process.identity
        number = KINDS[fault.kind].signal
        if number is None:
            await self._hold(fault)
            return
        fault.evidence = {"pid": pid, "signal": number.name}
        process.send(number, restart=fault.kind != "outage")
        if fault.kind == "pause":
            in_force = await _until(process.is_stopped)
        else:
            in_force = await _until(lambda: not process.is_alive(pid, identity))
        if in_force and fault.removed_s is None:
            fault.effective_s, fault.hits = time.time(), 1
            self._tell(fault, "effective")
        if fault.kind != "pause":
            await process.wait_exited(identity)
            fault.evidence["exit"] = process.last_exit
        if fault.ttl_s is None:
            self._spawn(self._until_back(fault))

    async def _hold(self, fault: ProcessFault) -> None:
        assert isinstance(fault.process, Holdable)
        fault.evidence = {"pid": fault.process.pid}
        fault.evidence |= await fault.process.hold(fault.kind, fault.attributes)
        if fault.removed_s is not None:  # its end came while the engine was still at it
            await fault.process.release(fault.kind, fault.evidence)
            return
        fault.effective_s, fault.hits = time.time(), 1
        self._tell(fault, "effective")

    async def _release(self, fault: ProcessFault) -> None:
        assert isinstance(fault.process, Holdable)
        try:
            fault.evidence |= await fault.process.release(fault.kind, fault.evidence)
        except HoldRefusedError as error:
            fault.evidence["left"] = str(error)
        del self._releasing[fault.id]
        fault.removed_s = time.time()
        self._tell(fault, "removed")

    def _undo(self, fault: ProcessFault) -> None:
        """What makes an end of it; a kill has its end when the process is ready again."""
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
        fault.removed_s = time.time()
        self._tell(fault, "removed")

    async def _until_back(self, fault: ProcessFault) -> None:
        await self._when_ready(fault)
        if fault.removed_s is None:
            fault.removed_s = time.time()
            self._tell(fault, "removed")

    async def _when_ready(self, fault: ProcessFault) -> None:
        """Note after how many seconds the process was ready again."""
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
            raise Refused(f"unknown field {name!r}: expected one of {', '.join(FIELDS)}")
    kind = str(spec.get("kind"))
    if kind not in KINDS:
        raise Refused(f"unknown fault of processes {kind!r}: expected one of {', '.join(KINDS)}")
    attributes = spec.get("attributes") or {}
    least = KINDS[kind].attributes
    if spec.get("scope") or set(attributes) != set(least):
        wanted = f"the attributes {', '.join(least)}" if least else "no attributes"
        raise Refused(f"{kind} hits a whole process: it takes {wanted} and no scope")
    for name, value in attributes.items():
        if not _number(value) or value < least[name]:
            raise Refused(f"{name}: expected a number from {least[name]:g}, got {value!r}")
    if spec.get("point") not in (None, "process"):
        raise Refused(f"{kind} is at point process only, got {spec['point']!r}")
    if not KINDS[kind].lasts:
        return kind, None, attributes
    ttl_s = spec.get("ttl_s")
    if not _number(ttl_s) or not 0 < ttl_s <= TTL_S_MAX:
        raise Refused(f"ttl_s: expected seconds above 0 and up to {TTL_S_MAX:g}, got {ttl_s!r}")
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

"""Runs one process of the lab: start, wait until ready, start again after a crash, stop."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lab.runtimes.base import OnExit
from lab.runtimes.posix import pids
from lab.runtimes.servers.binaries import ServerMissingError
from lab.runtimes.supervisor import readiness
from lab.runtimes.supervisor.readiness import ReadinessCheck

RESTART_DELAY_S_MAX = 30.0
STEADY_S = 10.0  # after this time alive, the next crash starts with the first delay again
READY_S = 60.0
GONE_S = 5.0


class State(StrEnum):
    """The state of a process."""

    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"  # crashed, starts again shortly
    STOPPING = "stopping"
    STOPPED = "stopped"  # until it is started again


@dataclass(frozen=True)
class ProcessSpec:
    """One process: how to start it, how to check that it is ready, how to stop it."""

    name: str
    kind: str  # service, server, tool or observer
    port: int
    log: Path
    start: Callable[[OnExit], Awaitable[int]]
    is_ready: ReadinessCheck
    service: str = ""
    stop_signal: signal.Signals = signal.SIGTERM


class HoldRefusedError(Exception):
    """The engine refused the operation; the message has its reason."""


@runtime_checkable
class Holdable(Protocol):
    """A process that its surroundings can restrict: one in a container."""

    spec: ProcessSpec
    pid: int

    async def hold(self, kind: str, attributes: Mapping[str, float]) -> dict[str, Any]:
        """Put the restriction in force; returns what `release` requires. Raises HoldRefusedError."""

    async def release(self, kind: str, held: Mapping[str, Any]) -> dict[str, Any]:
        """Undo the restriction; returns the evidence of its effect. Raises HoldRefusedError."""


class ManagedProcess:
    """Runs the process of `spec` from `start` to `stop`; calls `on_change` at each change of state."""

    def __init__(
        self,
        spec: ProcessSpec,
        on_change: Callable[["ManagedProcess"], None],
        restart_delay_s: float,
    ) -> None:
        self.spec = spec
        self.state = State.STOPPED
        self.pid = 0
        self.identity = ""
        self.started_s = 0.0
        self.ready_after_s: float | None = None
        self.restarts = 0
        self.last_exit: int | None = None
        self.retry_s = 0.0
        self.problem = ""
        self.paused = False
        self._on_change = on_change
        self._delay_s = self._first_delay_s = restart_delay_s
        self._wanted = False
        self._ended: asyncio.Future[int] | None = None
        self._skip_delay = asyncio.Event()
        self._state_changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it, at once even during the delay after a crash."""
        self._wanted = True
        self._skip_delay.set()
        if self.state in (State.STOPPED, State.BACKOFF):
            self._change(State.STARTING)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=self.spec.name)

    async def wait_ready(self, timeout_s: float = READY_S + 5) -> bool:
        """Wait until it is ready; False if it crashes, is stopped, or is not ready in time."""
        down_or_ready = (State.READY, State.STOPPED, State.BACKOFF)
        await self._until(lambda: self.state in down_or_ready, timeout_s)
        return self.state is State.READY

    async def wait_exited(self, identity: str) -> bool:
        """Wait until the process with this identity is known to have ended; False after `GONE_S`."""
        return await self._until(lambda: self.identity != identity, GONE_S)

    def send(self, number: signal.Signals, *, restart: bool) -> None:
        """Signal the process; without `restart` it stays down when it ends. Raises ProcessLookupError."""
        if not self.pid:
            raise ProcessLookupError(f"{self.spec.name} is not running ({self.state})")
        if not restart:
            self._wanted = False
        self._signal(number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.paused = number is signal.SIGSTOP

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Stop it gracefully; kill it after `timeout_s`."""
        self._wanted = False
        self._skip_delay.set()
        if self._task is None or self._task.done():
            return
        if self.pid and self._ended is not None:
            self._change(State.STOPPING)
            self._signal(self.spec.stop_signal)
            if self.paused:
                self._signal(signal.SIGCONT)  # a paused process handles no other signal
            await asyncio.wait([self._ended], timeout=timeout_s)
            if not self._ended.done():
                self._signal(signal.SIGKILL)
        else:
            self._task.cancel()  # it has not started yet
        await asyncio.wait([self._task], timeout=2.0)
        self._change(State.STOPPED)

    def is_alive(self, pid: int, identity: str) -> bool:
        """Whether the process with this pid and identity is alive."""
        return pids.same(pid, identity)

    def is_stopped(self) -> bool:
        """Whether the system reports the process and its children as stopped."""
        return pids.stopped(self.pid)

    def facts(self) -> dict[str, Any]:
        """For `lab status`. Times in s; `uptime_s` None while it is not running."""
        now = time.time()
        return {
            "name": self.spec.name,
            "service": self.spec.service,
            "kind": self.spec.kind,
            "state": "paused" if self.paused else str(self.state),
            "pid": self.pid or None,
            "port": self.spec.port,
            "restarts": self.restarts,
            "uptime_s": round(now - self.started_s, 1) if self.pid else None,
            "ready_after_s": self.ready_after_s,
            "last_exit": self.last_exit,
            "retry_in_s": max(0.0, round(self.retry_s - now, 1))
            if self.state is State.BACKOFF
            else None,
        }

    async def _run(self) -> None:
        while self._wanted:
            self._ended = asyncio.get_running_loop().create_future()
            self.ready_after_s, self.problem = None, ""
            self._change(State.STARTING)
            began = time.monotonic()
            try:
                await self._run_once(began)
            except (OSError, ServerMissingError) as error:
                self.problem = str(error)
            self.pid, self.identity, self.paused = 0, "", False
            if not self._wanted:
                break
            if time.monotonic() - began > STEADY_S:
                self._delay_s = self._first_delay_s
            await self._back_off()
        self._change(State.STOPPED)

    async def _run_once(self, began: float) -> None:
        assert self._ended is not None
        starting = asyncio.ensure_future(self.spec.start(self._on_exit))
        try:
            self.pid = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_kill_late)
            raise
        self.identity, self.started_s = pids.identity(self.pid), time.time()
        self._change(State.STARTING)
        checking = asyncio.create_task(readiness.wait(self.spec.is_ready, READY_S))
        first: list[asyncio.Future[Any]] = [checking, self._ended]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            checking.cancel()
        elif checking.result():
            self.ready_after_s = round(time.monotonic() - began, 3)
            self._change(State.READY)
        else:
            self.problem = f"not ready after {READY_S:.0f} s"
            self._signal(signal.SIGKILL)
        self.last_exit = await self._ended

    async def _back_off(self) -> None:
        self.restarts += 1
        self.retry_s = time.time() + self._delay_s
        self._skip_delay.clear()
        self._change(State.BACKOFF)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._skip_delay.wait(), self._delay_s)
        self._delay_s = min(self._delay_s * 2, RESTART_DELAY_S_MAX)

    def _on_exit(self, code: int) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(code)

    def _signal(self, number: signal.Signals) -> None:
        # check the identity: after an exit that was not reported yet, another process may have the pid
        if self.pid and pids.same(self.pid, self.identity):
            pids.send(self.pid, number)

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Check the condition at each change of state; False if it did not hold in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._state_changed.clear()
                    await self._state_changed.wait()
        return condition()

    def _change(self, state: State) -> None:
        self.state = state
        self._state_changed.set()
        self._on_change(self)


def _kill_late(starting: "asyncio.Future[int]") -> None:
    """Kill a process whose start was cancelled."""
    if not starting.cancelled() and starting.exception() is None:
        pids.send(starting.result(), signal.SIGKILL)

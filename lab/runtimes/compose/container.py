"""One container of the lab, kept as a process of the other runtime is: same states, same verbs, same facts."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from lab.runtimes.base import RESTART_DELAY_S
from lab.runtimes.compose import container_faults
from lab.runtimes.compose.engine import Engine, EngineRefusedError
from lab.runtimes.supervisor import readiness
from lab.runtimes.supervisor.managed_process import (
    HoldRefusedError,
    ManagedProcess,
    ProcessSpec,
    State,
)

# Kills what the container runs, not its PID 1 (the engine's init): PID 1 cannot be killed from inside, and a kill
# by the engine counts as wanted, so that no restart policy would apply. This way it is a crash.
CRASH = 'kill -s "$0" $(cat /proc/1/task/1/children)'
GONE_S = 3.0
READY_S = 240.0  # twenty programs start at once: a busy machine takes its time


class Container(ManagedProcess):
    """The engine runs it and starts it again; we send it orders and hear of what became of it."""

    def __init__(
        self,
        spec: ProcessSpec,
        container: str,
        engine: Engine,
        on_change: Callable[[ManagedProcess], None],
    ) -> None:
        super().__init__(spec, on_change, RESTART_DELAY_S)
        self.container = container
        self.ooms = 0
        self.on_move: Callable[[], None] = lambda: None  # its address may be another now
        self._engine = engine
        self._orders: set[asyncio.Task[None]] = set()
        self._probing: asyncio.Task[None] | None = None
        self._ordered = asyncio.Lock()

    # -- orders ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Want it running, whether it was paused or is down."""
        self._wanted = True
        if self.state in (State.STOPPED, State.BACKOFF):
            self._change(State.STARTING)
        self._order(self._start())

    def send(self, number: signal.Signals, *, restart: bool) -> None:
        """Signal what runs in it; STOP and CONT pause and let go on. Raises ProcessLookupError."""
        if not self.pid:
            raise ProcessLookupError(f"{self.spec.name} is not running ({self.state})")
        if not restart:
            self._wanted = False
        self._order(self._send(number, restart, self.identity))

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Ask it to end, and make it end after `timeout_s`."""
        self._wanted = False
        if self.pid:
            self._change(State.STOPPING)
        async with self._ordered:
            if self.paused:
                await self._tried(self._engine.unpause(self.container))
            await self._tried(self._engine.stop(self.container, timeout_s))
        await self.look()

    # -- what the engine holds it back by -------------------------------------------------------

    async def hold(self, kind: str, attributes: Mapping[str, float]) -> dict[str, Any]:
        """In force on return. Raises HoldRefusedError."""
        ooms = {"ooms": self.ooms}
        try:
            async with self._ordered:
                return ooms | await container_faults.hold(
                    self._engine, self.container, kind, attributes
                )
        except EngineRefusedError as error:
            raise HoldRefusedError(str(error)) from None

    async def release(self, kind: str, held: Mapping[str, Any]) -> dict[str, Any]:
        """Undone on return. Raises HoldRefusedError."""
        try:
            async with self._ordered:
                seen = await container_faults.release(self._engine, self.container, kind, held)
        except EngineRefusedError as error:
            raise HoldRefusedError(str(error)) from None
        self.on_move()
        return seen | {"oom_kills": self.ooms - held["ooms"]}

    def is_alive(self, pid: int, identity: str) -> bool:
        return self.pid == pid and self.identity == identity

    def is_stopped(self) -> bool:
        return self.paused

    # -- what the engine tells ------------------------------------------------------------------

    async def look(self) -> None:
        """Take over how it is now."""
        try:
            state = (await self._engine.inspect(self.container))["State"]
        except EngineRefusedError as error:
            self.problem = str(error)
            self._ended_now(None)
            return
        if state["Running"] and state["Pid"]:
            self._runs(state)
        else:
            self._ended_now(int(state["ExitCode"]))

    async def hear(self, event: dict[str, Any]) -> None:
        """One event of the engine about this container."""
        action = event["Action"]
        if action in ("pause", "unpause"):
            self.paused = action == "pause"
            self._change(self.state)
        elif action == "die":
            self._ended_now(int(event["Actor"]["Attributes"].get("exitCode", -1)))
        elif action == "oom":
            self.problem = "it used more memory than it may"
            self.ooms += 1
        elif action == "start":
            self.on_move()
            await self.look()

    def _runs(self, state: dict[str, Any]) -> None:
        self.paused = bool(state["Paused"])
        if self.identity == state["StartedAt"]:
            return
        self._wanted = True
        self.pid, self.identity = int(state["Pid"]), str(state["StartedAt"])
        self.started_s = datetime.fromisoformat(self.identity[:19] + "+00:00").timestamp()
        self.ready_after_s, self.problem = None, ""
        self._change(State.STARTING)
        if self._probing is not None:
            self._probing.cancel()
        self._probing = asyncio.create_task(self._until_ready(self.identity))

    def _ended_now(self, code: int | None) -> None:
        if self._probing is not None:
            self._probing.cancel()
        if self.pid:
            self.last_exit = code
            self.restarts += int(self._wanted)
        self.pid, self.identity, self.paused = 0, "", False
        self._change(State.BACKOFF if self._wanted else State.STOPPED)

    async def _until_ready(self, identity: str) -> None:
        began = time.monotonic()
        if await readiness.wait(self.spec.is_ready, READY_S) and self.identity == identity:
            self.ready_after_s = round(time.monotonic() - began, 3)
            self._change(State.READY)
        elif self.identity == identity:
            self.problem = f"not ready after {READY_S:.0f} s"
            self._change(State.BACKOFF)

    # -- how orders are carried out -------------------------------------------------------------

    def _order(self, work: Coroutine[Any, Any, None]) -> None:
        async def one_after_another() -> None:
            async with self._ordered:
                await self._tried(work)

        task = asyncio.create_task(one_after_another())
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)

    async def _tried(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except EngineRefusedError as error:
            self.problem = str(error)

    async def _start(self) -> None:
        if self.paused:
            await self._engine.unpause(self.container)
        elif not self.pid:
            await self._engine.start(self.container)
        await self.look()

    async def _send(self, number: signal.Signals, restart: bool, identity: str) -> None:
        if number is signal.SIGSTOP:
            await self._engine.pause(self.container)
            return
        if self.paused:  # a paused one hears nothing else
            await self._engine.unpause(self.container)
        if number is signal.SIGCONT:
            return
        if not restart:
            await self._engine.kill(self.container, number.name)
            return
        with suppress(EngineRefusedError):  # no shell in it
            if await self._engine.execute(
                self.container, ["sh", "-c", CRASH, number.name.removeprefix("SIG")]
            ) in (0, None, 137):
                return
        await self._engine.kill(self.container, number.name)
        give_up = time.monotonic() + GONE_S
        while self.identity == identity and time.monotonic() < give_up:
            await asyncio.sleep(0.02)
        await asyncio.sleep(RESTART_DELAY_S)
        if self._wanted and not self.pid:
            await self._engine.start(self.container)

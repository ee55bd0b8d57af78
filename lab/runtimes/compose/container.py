"""One container of the lab, with the states, operations and facts of a managed process."""

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

# Kills the program in the container, not its PID 1 (the engine's init): PID 1 cannot be killed from inside, and
# the restart policy does not apply after a kill by the engine. A kill from inside is a crash.
CRASH = 'kill -s "$0" $(cat /proc/1/task/1/children)'
GONE_S = 3.0
READY_S = 240.0  # twenty programs start at once: this is slow on a busy machine


class Container(ManagedProcess):
    """The engine runs the container and restarts it; this class sends requests and handles the engine's events."""

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
        self.on_move: Callable[[], None] = lambda: None  # called when its address may have changed
        self._engine = engine
        self._requests: set[asyncio.Task[None]] = set()
        self._checking: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    # -- operations -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, or resume it if it is paused."""
        self._wanted = True
        if self.state in (State.STOPPED, State.BACKOFF):
            self._change(State.STARTING)
        self._request(self._start())

    def send(self, number: signal.Signals, *, restart: bool) -> None:
        """Signal the program in it; STOP pauses and CONT resumes. Raises ProcessLookupError."""
        if not self.pid:
            raise ProcessLookupError(f"{self.spec.name} is not running ({self.state})")
        if not restart:
            self._wanted = False
        self._request(self._send(number, restart, self.identity))

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Stop it gracefully; kill it after `timeout_s`."""
        self._wanted = False
        if self.pid:
            self._change(State.STOPPING)
        async with self._one_at_a_time:
            if self.paused:
                await self._attempt(self._engine.unpause(self.container))
            await self._attempt(self._engine.stop(self.container, timeout_s))
        await self.refresh()

    # -- restrictions by the engine -------------------------------------------------------------

    async def hold(self, kind: str, attributes: Mapping[str, float]) -> dict[str, Any]:
        """Put the restriction in force. Raises HoldRefusedError."""
        ooms = {"ooms": self.ooms}
        try:
            async with self._one_at_a_time:
                return ooms | await container_faults.hold(
                    self._engine, self.container, kind, attributes
                )
        except EngineRefusedError as error:
            raise HoldRefusedError(str(error)) from None

    async def release(self, kind: str, held: Mapping[str, Any]) -> dict[str, Any]:
        """Undo the restriction. Raises HoldRefusedError."""
        try:
            async with self._one_at_a_time:
                seen = await container_faults.release(self._engine, self.container, kind, held)
        except EngineRefusedError as error:
            raise HoldRefusedError(str(error)) from None
        self.on_move()
        return seen | {"oom_kills": self.ooms - held["ooms"]}

    def is_alive(self, pid: int, identity: str) -> bool:
        return self.pid == pid and self.identity == identity

    def is_stopped(self) -> bool:
        return self.paused

    # -- events of the engine -------------------------------------------------------------------

    async def refresh(self) -> None:
        """Take over the container's current state."""
        try:
            state = (await self._engine.inspect(self.container))["State"]
        except EngineRefusedError as error:
            self.problem = str(error)
            self._set_ended(None)
            return
        if state["Running"] and state["Pid"]:
            self._set_running(state)
        else:
            self._set_ended(int(state["ExitCode"]))

    async def handle(self, event: dict[str, Any]) -> None:
        """Handle one event of the engine about this container."""
        action = event["Action"]
        if action in ("pause", "unpause"):
            self.paused = action == "pause"
            self._change(self.state)
        elif action == "die":
            self._set_ended(int(event["Actor"]["Attributes"].get("exitCode", -1)))
        elif action == "oom":
            self.problem = "it used more memory than its limit"
            self.ooms += 1
        elif action == "start":
            self.on_move()
            await self.refresh()

    def _set_running(self, state: dict[str, Any]) -> None:
        self.paused = bool(state["Paused"])
        if self.identity == state["StartedAt"]:
            return
        self._wanted = True
        self.pid, self.identity = int(state["Pid"]), str(state["StartedAt"])
        self.started_s = datetime.fromisoformat(self.identity[:19] + "+00:00").timestamp()
        self.ready_after_s, self.problem = None, ""
        self._change(State.STARTING)
        if self._checking is not None:
            self._checking.cancel()
        self._checking = asyncio.create_task(self._until_ready(self.identity))

    def _set_ended(self, code: int | None) -> None:
        if self._checking is not None:
            self._checking.cancel()
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

    # -- requests to the engine -----------------------------------------------------------------

    def _request(self, work: Coroutine[Any, Any, None]) -> None:
        async def one_after_another() -> None:
            async with self._one_at_a_time:
                await self._attempt(work)

        task = asyncio.create_task(one_after_another())
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _attempt(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except EngineRefusedError as error:
            self.problem = str(error)

    async def _start(self) -> None:
        if self.paused:
            await self._engine.unpause(self.container)
        elif not self.pid:
            await self._engine.start(self.container)
        await self.refresh()

    async def _send(self, number: signal.Signals, restart: bool, identity: str) -> None:
        if number is signal.SIGSTOP:
            await self._engine.pause(self.container)
            return
        if self.paused:  # a paused program handles no other signal
            await self._engine.unpause(self.container)
        if number is signal.SIGCONT:
            return
        if not restart:
            await self._engine.kill(self.container, number.name)
            return
        with suppress(EngineRefusedError):  # the container has no shell
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

"""Timeout: cut off an attempt after some seconds, or at the request's deadline if sooner."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from chassis.resilience.checks import positive
from chassis.resilience.clock import SYSTEM_CLOCK, Clock
from chassis.resilience.errors import DeadlineExceeded, TimedOut
from chassis.resilience.events import Event, Listener, emit
from chassis.resilience.policy import Attempt, Call, Switchable, T


class Timeout(Switchable):
    """Bounds one attempt to `seconds`; placed outermost it bounds all attempts together.

    Raises DeadlineExceeded, definite, without starting work whose deadline has passed; TimedOut
    (indefinite) after `seconds`; DeadlineExceeded (indefinite) when the deadline came first.
    Cancels the attempt in the caller's own task, so it costs one timer and no task.
    """

    kind: ClassVar[str] = "timeout"

    def __init__(
        self, seconds: float, *, clock: Clock = SYSTEM_CLOCK, listener: Listener | None = None
    ) -> None:
        self.seconds = positive("seconds", seconds)
        self.clock = clock
        self.listener = listener
        self.timed_out = 0

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        seconds = self.seconds
        by_deadline = False
        if call.deadline is not None:
            remaining = call.deadline - self.clock.monotonic()
            if remaining <= 0:
                self._tell(call, "rejection", "deadline", 0.0)
                raise DeadlineExceeded("deadline passed before the attempt started", definite=True)
            if remaining < seconds:
                seconds, by_deadline = remaining, True
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Timeout.run must be awaited inside a task")
        guard = _Guard(task)
        timer = self.clock.call_later(seconds, guard.fire)
        try:
            return await attempt(call)
        except asyncio.CancelledError:
            # Ours only if nobody else cancelled this task too (asyncio.timeout's rule).
            if not guard.settle():
                raise
            self.timed_out += 1
            self._tell(call, "timeout", "deadline" if by_deadline else "timeout", seconds)
            if by_deadline:
                raise DeadlineExceeded(f"deadline after {seconds:.3f} s") from None
            raise TimedOut(f"no answer within {seconds:g} s") from None
        finally:
            timer.cancel()
            if guard.fired:
                guard.settle()

    def _tell(self, call: Call, kind: str, reason: str, seconds: float) -> None:
        if self.listener is None:
            return
        event = Event(
            self.clock.monotonic(),
            call.edge,
            self.kind,
            "timeout" if kind == "timeout" else "rejection",
            reason=reason,
            attempt=call.attempt,
            duration_s=seconds,
        )
        emit(self.listener, event)

    def _live(self) -> dict[str, object]:
        return {"seconds": self.seconds, "timed_out": self.timed_out}


class _Guard:
    """Cancels a task once, and takes that cancellation back once."""

    __slots__ = ("before", "fired", "task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task = task
        self.before = task.cancelling()
        self.fired = False

    def fire(self) -> None:
        self.fired = True
        self.task.cancel()

    def settle(self) -> bool:
        """Whether the timer alone cancelled the task."""
        if not self.fired:
            return False
        self.fired = False
        return self.task.uncancel() <= self.before

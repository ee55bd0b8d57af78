"""Timeout: cut off an attempt after some seconds, or at the request's deadline if sooner."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import ClassVar

from .checks import positive
from .clock import SYSTEM_CLOCK, Clock
from .errors import DeadlineExceededError, TimedOutError
from .events import Event, Kind, Listener, emit
from .policy import Attempt, Call, Switchable, T

EARLY_S = 1e-6  # a loop may wake a hair before the hour; do not go back to sleep for that


class Timeout(Switchable):
    """Bounds one attempt to `seconds`; placed outermost it bounds all attempts together.

    Raises DeadlineExceededError, definite, without starting work whose deadline has passed; TimedOutError
    (indefinite) after `seconds`; DeadlineExceededError (indefinite) when the deadline came first.
    Works by cancelling the caller's own task, by asyncio.timeout's rules.

    All attempts get the same number of seconds, so they fall due in the order they started: one
    queue and one timer watch them all, which costs a quarter of a timer for each attempt.
    """

    kind: ClassVar[str] = "timeout"

    def __init__(
        self, seconds: float, *, clock: Clock = SYSTEM_CLOCK, listener: Listener | None = None
    ) -> None:
        self.seconds = positive("seconds", seconds)
        self.clock = clock
        self.listener = listener
        self.timed_out = 0
        self.expired = 0  # never started: the deadline had passed
        self._guards: deque[_Guard] = deque()
        self._armed_in: asyncio.AbstractEventLoop | None = None

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        clock = self.clock
        now = clock.monotonic()
        seconds = self.seconds
        by_deadline = call.deadline is not None and call.deadline - now < seconds
        if by_deadline:
            assert call.deadline is not None
            seconds = call.deadline - now
            if seconds <= 0:
                self.expired += 1
                self._tell(call, "rejection", "deadline", 0.0)
                raise DeadlineExceededError(
                    "deadline passed before the attempt started", definite=True
                )
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Timeout.run must be awaited inside a task")
        guards = self._guards
        guard = _Guard(task, now + seconds)
        timer = None
        if by_deadline or (guards and guards[-1].due > guard.due):
            timer = clock.call_later(seconds, guard.fire)
        else:
            loop = task.get_loop()
            if self._armed_in is not loop:
                if self._armed_in is not None:
                    guards.clear()  # a former loop ended with attempts under way
                self._arm(loop, seconds)
            guards.append(guard)
        try:
            return await attempt(call)
        except asyncio.CancelledError:
            # Ours only if nobody else cancelled this task too.
            if not guard.settle():
                raise
            self.timed_out += 1
            self._tell(call, "timeout", "deadline" if by_deadline else "timeout", seconds)
            if by_deadline:
                raise DeadlineExceededError(f"deadline after {seconds:.3f} s") from None
            raise TimedOutError(f"no answer within {seconds:g} s") from None
        finally:
            guard.settle()
            guard.done = True
            if timer is not None:
                timer.cancel()
            while guards and guards[0].done:
                guards.popleft()

    def _arm(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._armed_in = loop
        self.clock.call_later(seconds, lambda: self._sweep(loop))

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cut off what is due and look again when the next attempt falls due."""
        if self._armed_in is not loop:
            return
        self._armed_in = None
        now = self.clock.monotonic()
        guards = self._guards
        while guards and (guards[0].done or guards[0].due <= now + EARLY_S):
            guards.popleft().fire()
        if guards:
            self._arm(loop, guards[0].due - now)

    def _tell(self, call: Call, kind: Kind, reason: str, seconds: float) -> None:
        if self.listener is not None:
            event = Event(
                self.clock.monotonic(),
                call.edge,
                self.kind,
                kind,
                reason=reason,
                attempt=call.attempt,
                duration_s=seconds,
            )
            emit(self.listener, event)

    def _live(self) -> dict[str, object]:
        return {"seconds": self.seconds, "timed_out": self.timed_out, "expired": self.expired}


class _Guard:
    """Cancels a task at most once, and takes that cancellation back."""

    __slots__ = ("before", "done", "due", "fired", "task")

    def __init__(self, task: asyncio.Task[object], due: float) -> None:
        self.task = task
        self.before = task.cancelling()
        self.due = due
        self.done = False
        self.fired = False

    def fire(self) -> None:
        if not self.done:
            self.fired = True
            self.task.cancel()

    def settle(self) -> bool:
        """Withdraw our cancellation, if made; whether the task is then cancelled by nobody."""
        if not self.fired:
            return False
        self.fired = False
        return self.task.uncancel() <= self.before

"""Timeout: cancels an attempt after some seconds, or at the request's deadline if that is sooner."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import ClassVar

from .checks import positive
from .clock import SYSTEM_CLOCK, Clock
from .errors import DeadlineExceededError, TimedOutError
from .events import Kind, Listener
from .policy import Attempt, Call, Switchable, T

EARLY_S = 1e-6  # a loop may wake slightly early; do not wait again for that


class Timeout(Switchable):
    """Limits one attempt to `seconds`. Placed outermost, it limits all attempts together.

    Raises TimedOutError (indefinite) after `seconds`, or DeadlineExceededError (indefinite) if the
    deadline came first. If the deadline has already passed, the work is not started and
    DeadlineExceededError is definite. It cancels the caller's own task, as asyncio.timeout does.

    All attempts have the same number of seconds, so they time out in the order of their start. One
    queue and one timer serve them all, at a quarter of the cost of a timer per attempt.
    """

    kind: ClassVar[str] = "timeout"

    def __init__(
        self, seconds: float, *, clock: Clock = SYSTEM_CLOCK, listener: Listener | None = None
    ) -> None:
        self.seconds = positive("seconds", seconds)
        self.clock = clock
        self.listener = listener
        self.timed_out = 0
        self.expired = 0  # not started: the deadline had passed
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
                self._emit(call, "rejection", "deadline", 0.0)
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
                    guards.clear()  # an earlier loop ended with attempts in flight
                self._arm(loop, seconds)
            guards.append(guard)
        try:
            return await attempt(call)
        except asyncio.CancelledError:
            # A timeout only if no other code cancelled this task too.
            if not guard.settle():
                raise
            self.timed_out += 1
            self._emit(call, "timeout", "deadline" if by_deadline else "timeout", seconds)
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
        """Cancel the attempts that are due, and set the timer for the next one."""
        if self._armed_in is not loop:
            return
        self._armed_in = None
        now = self.clock.monotonic()
        guards = self._guards
        while guards and (guards[0].done or guards[0].due <= now + EARLY_S):
            guards.popleft().fire()
        if guards:
            self._arm(loop, guards[0].due - now)

    def _emit(self, call: Call, kind: Kind, reason: str, seconds: float) -> None:
        number = call.attempt
        self._report(call.edge, kind, reason=reason, attempt=number, duration_s=seconds)

    def _live(self) -> dict[str, object]:
        return {"seconds": self.seconds, "timed_out": self.timed_out, "expired": self.expired}


class _Guard:
    """Cancels a task at most once, and can undo that cancellation."""

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
        """Undo the own cancellation. True if there was one and no other code cancelled the task."""
        if not self.fired:
            return False
        self.fired = False
        return self.task.uncancel() <= self.before

"""Bulkhead: limits the calls in flight, with a short, bounded queue for further calls."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import ClassVar, NoReturn

from .checks import at_least, not_negative
from .clock import SYSTEM_CLOCK, Clock
from .errors import BulkheadFullError, DeadlineExceededError
from .events import Listener
from .policy import Attempt, Call, Switchable, T


class Bulkhead(Switchable):
    """Runs `permits` calls at once. Up to `queue` more wait, first come first served; others are rejected.

    A queued call waits at most `wait_s_max` seconds and never past its deadline. Raises
    BulkheadFullError (reason "full" or "waited") or DeadlineExceededError (definite). If a call is
    cancelled at the moment it gets a permit, the next call in the queue gets that permit.
    """

    kind: ClassVar[str] = "bulkhead"

    def __init__(
        self,
        edge: str,
        permits: int = 25,
        *,
        queue: int = 0,
        wait_s_max: float = 1.0,
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.edge = edge
        self.permits = at_least("permits", permits, 1)
        self.queue = at_least("queue", queue, 0)
        self.wait_s_max = not_negative("wait_s_max", wait_s_max)
        self.clock = clock
        self.listener = listener
        self.in_flight = 0
        self.rejected = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()  # True: the call has a permit

    @property
    def waiting(self) -> int:
        """Calls in the queue now."""
        return len(self._waiting)

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        if self.in_flight < self.permits:  # a free permit implies an empty queue, see `release`
            self.in_flight += 1
        else:
            await self._wait(call)
        try:
            return await attempt(call)
        finally:
            self.release()

    def release(self) -> None:
        """Free a permit. The first call in the queue gets it."""
        self.in_flight -= 1
        while self._waiting and self.in_flight < self.permits:
            first = self._waiting.popleft()
            if not first.done():
                self.in_flight += 1
                first.set_result(True)

    async def _wait(self, call: Call) -> None:
        if len(self._waiting) >= self.queue:
            self._reject("full")
        wait_s = self.wait_s_max
        remaining_s = call.remaining(self.clock)
        by_deadline = remaining_s is not None and remaining_s < wait_s
        if by_deadline and remaining_s is not None:
            wait_s = remaining_s
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        timer = self.clock.call_later(
            wait_s, lambda: None if turn.done() else turn.set_result(False)
        )
        try:
            granted = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.release()
            self._forget(turn)
            raise
        finally:
            timer.cancel()
        if not granted:
            self._forget(turn)
            self._reject("deadline" if by_deadline else "waited")

    def _forget(self, turn: asyncio.Future[bool]) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)

    def _reject(self, reason: str) -> NoReturn:
        self.rejected += 1
        n, limit = self.in_flight, self.permits
        self._report(self.edge, "rejection", reason=reason, n=n, limit=limit)
        if reason == "deadline":
            raise DeadlineExceededError(f"{self.edge}: deadline passed in the queue", definite=True)
        raise BulkheadFullError(f"{self.edge}: bulkhead is full", reason=reason)

    def _live(self) -> dict[str, object]:
        return {
            "edge": self.edge,
            "permits": self.permits,
            "in_flight": self.in_flight,
            "waiting": self.waiting,
            "rejected": self.rejected,
        }

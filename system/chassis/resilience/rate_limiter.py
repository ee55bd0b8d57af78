"""Rate limiter: a token bucket with an optional short wait for the next token."""

from __future__ import annotations

from typing import ClassVar

from .checks import at_least, not_negative, positive
from .clock import SYSTEM_CLOCK, Clock
from .errors import RateLimitedError
from .events import Listener
from .policy import Attempt, Call, Switchable, T


class _Turn:
    """The reservation of one waiting call."""

    abandoned = False


class RateLimiter(Switchable):
    """At most `burst` + `rate_per_s` x t calls start in any t seconds.

    A call without a token reserves the next one if it comes within `wait_s_max` seconds and before
    the call's deadline. Otherwise it raises RateLimitedError with `retry_after_s`. A call cancelled
    while it waits returns its token, unless a later call waits: that call keeps its time. Tokens are
    added continuously. resilience4j adds them in whole cycles, and can admit the calls of two cycles
    at the border between them.
    """

    kind: ClassVar[str] = "rate_limiter"

    def __init__(
        self,
        edge: str,
        rate_per_s: float,
        *,
        burst: int = 1,
        wait_s_max: float = 0.0,
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.edge = edge
        self.rate_per_s = positive("rate_per_s", rate_per_s)
        self.burst = at_least("burst", burst, 1)
        self.wait_s_max = not_negative("wait_s_max", wait_s_max)
        self.clock = clock
        self.listener = listener
        self.rejected = 0
        self._tokens = float(self.burst)  # below 0: reserved by waiting calls
        self._at = clock.monotonic()
        self._turns: list[_Turn] = []  # of the calls that wait, in order

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        wait_s = self.acquire(call)
        if wait_s > 0:
            turn = _Turn()
            self._turns.append(turn)
            try:
                await self.clock.sleep(wait_s)
            except BaseException:
                turn.abandoned = True
                self._return_last_turns()
                raise
            del self._turns[: self._turns.index(turn) + 1]
        return await attempt(call)

    def acquire(self, call: Call) -> float:
        """Take a token. Returns the seconds to wait before its use. Raises RateLimitedError."""
        now = self.clock.monotonic()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate_per_s)
        self._at = now
        wait_s = (1 - self._tokens) / self.rate_per_s
        if wait_s <= 1e-9:  # ten refills of 0.1 make a whole token
            wait_s = 0.0
        late = call.deadline is not None and now + wait_s >= call.deadline
        if wait_s and (wait_s > self.wait_s_max or late):
            self.rejected += 1
            rate = self.rate_per_s
            self._report(self.edge, "rejection", reason="rate", wait_s=wait_s, limit=rate)
            message = f"{self.edge}: over {rate:g} calls/s"
            raise RateLimitedError(message, reason="rate", retry_after_s=wait_s)
        self._tokens -= 1
        return wait_s

    def _return_last_turns(self) -> None:
        """A turn before one that is still awaited passes unused: calls must not start at once."""
        while self._turns and self._turns[-1].abandoned:
            self._turns.pop()
            self._tokens = min(self.burst, self._tokens + 1)

    def _live(self) -> dict[str, object]:
        return {
            "edge": self.edge,
            "rate_per_s": self.rate_per_s,
            "tokens": round(self._tokens, 3),
            "rejected": self.rejected,
        }

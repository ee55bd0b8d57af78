"""Adaptive concurrency limit: a bulkhead whose size follows the dependency's latency."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from .checks import at_least, positive
from .clock import SYSTEM_CLOCK, Clock
from .errors import (
    CallFailedError,
    DeadlineExceededError,
    LimitReachedError,
    RejectedError,
    TimedOutError,
)
from .events import Listener
from .limits import Gradient2, Limit
from .policy import Attempt, Call, Switchable, T

OVERLOADED = (429, 503)


class AdaptiveLimit(Switchable):
    """Admits while fewer calls than `algorithm.limit` are in flight; raises LimitReachedError.

    Samples are averaged over windows of at least `window_s` seconds and `samples_min` calls, then
    passed to the algorithm. A timeout and an answer 429 or 503 are drops. Other failures are not
    sampled: they do not depend on capacity. Use it at the caller or around a server's handlers.
    """

    kind: ClassVar[str] = "adaptive_limit"

    def __init__(
        self,
        edge: str,
        algorithm: Limit | None = None,
        *,
        window_s: float = 0.1,
        samples_min: int = 10,
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.edge = edge
        self.algorithm: Limit = algorithm or Gradient2()
        self.window_s = positive("window_s", window_s)
        self.samples_min = at_least("samples_min", samples_min, 1)
        self.clock = clock
        self.listener = listener
        self.in_flight = 0
        self.rejected = 0
        self._since = clock.monotonic()
        self._sum_s = 0.0
        self._samples = 0
        self._peak = 0
        self._dropped = False

    @property
    def limit(self) -> int:
        """The number of calls admitted at the same time now."""
        return int(self.algorithm.limit)

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        if self.in_flight >= self.limit:
            self._reject()
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        started = self.clock.monotonic()
        try:
            answer = await attempt(call)
        except Exception as error:
            if _is_drop(error):
                self._sample(started, dropped=True)
            raise
        else:
            self._sample(started, dropped=False)
            return answer
        finally:
            self.in_flight -= 1

    def _sample(self, started: float, *, dropped: bool) -> None:
        now = self.clock.monotonic()
        self._sum_s += now - started
        self._samples += 1
        self._dropped = self._dropped or dropped
        if now - self._since < self.window_s or self._samples < self.samples_min:
            return
        before = self.limit
        self.algorithm.update(self._sum_s / self._samples, self._peak, self._dropped)
        self._start_window(now)
        if self.limit != before:
            self._report(self.edge, "limit", limit=self.limit, n=self.in_flight)

    def _start_window(self, now: float) -> None:
        self._since = now
        self._sum_s = 0.0
        self._samples = 0
        self._peak = self.in_flight
        self._dropped = False

    def _reject(self) -> NoReturn:
        self.rejected += 1
        n, limit = self.in_flight, self.limit
        self._report(self.edge, "rejection", reason="limit", n=n, limit=limit)
        raise LimitReachedError(f"{self.edge}: {limit} calls are in flight", reason="limit")

    def _live(self) -> dict[str, object]:
        return {
            "edge": self.edge,
            "limit": self.limit,
            "in_flight": self.in_flight,
            "rejected": self.rejected,
        }


def _is_drop(error: Exception) -> bool:
    if isinstance(error, RejectedError):
        return False
    if isinstance(error, CallFailedError):
        return error.status in OVERLOADED
    return isinstance(error, TimedOutError) or (
        isinstance(error, DeadlineExceededError) and not error.definite
    )

"""Load shedding: an overloaded server rejects its least important requests first, before any work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NoReturn

from .checks import at_least, positive, share
from .clock import SYSTEM_CLOCK, Clock
from .errors import ShedError
from .events import Listener
from .policy import Attempt, Call, Switchable, T


class LoadShedder(Switchable):
    """Admits requests by priority class, from two signals: requests in flight and queueing time.

    shares[p] is the share of `capacity` (requests in flight) that class p may use. Priorities above
    the last class count as the last, whose share is 1. In addition, if even the shortest queueing
    time reported during an `interval_s` exceeds `queue_s_max` (CoDel's sign of a standing queue,
    RFC 8289), the next interval sheds one more class, otherwise one less. The last class is never
    shed for that reason. Raises ShedError with `retry_after_s`.
    """

    kind: ClassVar[str] = "shed"

    def __init__(
        self,
        name: str,
        capacity: int = 100,
        *,
        shares: Sequence[float] = (0.6, 0.8, 1.0),
        queue_s_max: float = 0.05,
        interval_s: float = 0.1,
        retry_after_s: float = 1.0,
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.name = name
        self.capacity = at_least("capacity", capacity, 1)
        self.shares = tuple(share("shares", part) for part in shares)
        if list(self.shares) != sorted(self.shares) or self.shares[-1:] != (1.0,):
            raise ValueError(f"shares must rise and end at 1.0, got {shares!r}")
        self.queue_s_max = positive("queue_s_max", queue_s_max)
        self.interval_s = positive("interval_s", interval_s)
        self.retry_after_s = positive("retry_after_s", retry_after_s)
        self.clock = clock
        self.listener = listener
        self.in_flight = 0
        self.dropped = 0
        self.level = 0  # classes below this are shed because of queueing
        self._interval_ends = clock.monotonic() + interval_s
        self._shortest_s = math.inf

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        self.admit(call.priority)
        try:
            return await attempt(call)
        finally:
            self.release()

    def admit(self, priority: int) -> None:
        """Admit one request. Exactly one `release` must follow. Raises ShedError."""
        last = len(self.shares) - 1
        rank = min(max(priority, 0), last)
        self._roll(self.clock.monotonic())
        if rank < self.level:
            self._drop(rank, "queue")
        if self.in_flight >= math.ceil(self.shares[rank] * self.capacity):
            self._drop(rank, "in_flight")
        self.in_flight += 1

    def release(self) -> None:
        """End an admitted request."""
        self.in_flight -= 1

    def observe_queue(self, seconds: float) -> None:
        """Report how long a request, or the event loop, waited before its work began."""
        self._roll(self.clock.monotonic())
        self._shortest_s = min(self._shortest_s, seconds)

    def _roll(self, now: float) -> None:
        if now < self._interval_ends:
            return
        standing = self.queue_s_max < self._shortest_s < math.inf
        silent = int((now - self._interval_ends) / self.interval_s)  # intervals without a report
        step = 1 if standing else -1
        self.level = max(0, min(self.level + step, len(self.shares) - 1) - silent)
        self._shortest_s = math.inf
        self._interval_ends = now + self.interval_s

    def _drop(self, rank: int, reason: str) -> NoReturn:
        self.dropped += 1
        n, limit = self.in_flight, self.capacity
        self._report(self.name, "shed", reason=reason, priority=rank, n=n, limit=limit)
        raise ShedError(f"{self.name}: overloaded", reason=reason, retry_after_s=self.retry_after_s)

    def _live(self) -> dict[str, object]:
        return {
            "name": self.name,
            "in_flight": self.in_flight,
            "capacity": self.capacity,
            "level": self.level,
            "dropped": self.dropped,
        }

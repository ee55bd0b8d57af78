"""Algorithms that estimate the concurrency a dependency can handle, from its latency: AIMD, gradient2."""

from __future__ import annotations

from typing import Protocol

from .checks import at_least, positive, share


class Limit(Protocol):
    """An estimate, updated from one sample window at a time."""

    limit: float

    def update(self, rtt_s: float, in_flight: int, dropped: bool) -> None:
        """Update from a window: mean round trip in seconds, most calls in flight, whether any was dropped."""


class Aimd:
    """Additive increase, multiplicative decrease, as in TCP.

    +1 while at least half the limit is in use; x `backoff` when a call was dropped or the round
    trip exceeds `rtt_s_max`.
    """

    def __init__(
        self,
        *,
        initial: int = 20,
        least: int = 1,
        most: int = 200,
        backoff: float = 0.9,
        rtt_s_max: float = 5.0,
    ) -> None:
        self.limit = float(_ordered(least, initial, most))
        self.least = least
        self.most = most
        self.backoff = share("backoff", backoff)
        self.rtt_s_max = positive("rtt_s_max", rtt_s_max)

    def update(self, rtt_s: float, in_flight: int, dropped: bool) -> None:
        if dropped or rtt_s > self.rtt_s_max:
            self.limit = max(self.least, self.limit * self.backoff)
        elif in_flight * 2 >= self.limit:
            self.limit = min(self.most, self.limit + 1)


class Gradient2:
    """Shrinks by the ratio of the long-term to the current round trip, grows by an allowed queue.

    limit <- (1 - s) limit + s (g limit + queue), g = clamp(tolerance x long/rtt, 0.5, 1), where
    long is an exponential average over `long_window` samples (Netflix concurrency-limits,
    Gradient2Limit). Unlike there, a dropped sample means g = 0.5 and does not change the average: a
    fast rejection would otherwise look like a fast dependency. Known weakness: in a steady overload
    the long average follows within about `long_window` samples, and the limit then grows again.
    """

    def __init__(
        self,
        *,
        initial: int = 20,
        least: int = 1,
        most: int = 200,
        queue: int = 4,
        smoothing: float = 0.2,
        tolerance: float = 1.5,
        long_window: int = 600,
    ) -> None:
        self.limit = float(_ordered(least, initial, most))
        self.least = least
        self.most = most
        self.queue = at_least("queue", queue, 0)
        self.smoothing = share("smoothing", smoothing)
        self.tolerance = positive("tolerance", tolerance)
        self.long_window = at_least("long_window", long_window, 1)
        self.long_s = 0.0
        self._samples = 0

    def update(self, rtt_s: float, in_flight: int, dropped: bool) -> None:
        gradient = 0.5
        if not dropped and rtt_s > 0:
            self._average(rtt_s)
            gradient = max(0.5, min(1.0, self.tolerance * self.long_s / rtt_s))
            if self.long_s > 2 * rtt_s:
                self.long_s *= 0.95  # after a long overload: forget it faster
        if not dropped and in_flight < self.limit / 2:
            return  # the load, not the limit, bounded the calls: no information
        target = self.limit * gradient + (0 if dropped else self.queue)
        limit = (1 - self.smoothing) * self.limit + self.smoothing * target
        self.limit = max(self.least, min(self.most, limit))

    def _average(self, rtt_s: float) -> None:
        self._samples += 1
        if self._samples <= 10:  # a plain mean of the first samples
            self.long_s += (rtt_s - self.long_s) / self._samples
        else:
            self.long_s += (rtt_s - self.long_s) * 2 / (self.long_window + 1)


def _ordered(least: int, initial: int, most: int) -> int:
    for name, value in (("least", least), ("initial", initial), ("most", most)):
        at_least(name, value, 1)
    if not least <= initial <= most:
        raise ValueError(f"limits must be least <= initial <= most, got {least, initial, most}")
    return initial

"""Sliding windows of outcomes. Recording and reading cost O(1) for any size."""

from __future__ import annotations

from collections import deque
from typing import Protocol

FAILED = 1
SLOW = 2


class Window(Protocol):
    """Counts over the recent calls. A slow failure counts in both `failures` and `slow`."""

    n: int
    failures: int
    slow: int

    def record(self, outcome: int, now: float) -> None:
        """Add an outcome that ended at `now` seconds: a sum of FAILED and SLOW, 0 for success."""


class CountWindow:
    """The last `size` calls: a ring with one byte per call, and running sums."""

    __slots__ = ("_head", "_ring", "_size", "failures", "n", "slow")

    def __init__(self, size: int) -> None:
        self._ring = bytearray(size)
        self._size = size
        self._head = 0
        self.n = self.failures = self.slow = 0

    def record(self, outcome: int, now: float) -> None:
        head = self._head
        if self.n < self._size:
            self.n += 1
            evicted = 0
        else:
            evicted = self._ring[head]
        if outcome != evicted:
            self._ring[head] = outcome
            self.failures += (outcome & FAILED) - (evicted & FAILED)
            self.slow += (outcome >> 1) - (evicted >> 1)
        head += 1
        self._head = head if head < self._size else 0


class TimeWindow:
    """The last `size` seconds in one-second buckets, including the current second.

    Only seconds with calls have a bucket. Each is added and removed once: O(1) amortized.
    """

    __slots__ = ("_buckets", "_size", "failures", "n", "slow")

    def __init__(self, size: int) -> None:
        self._size = size
        self._buckets: deque[list[int]] = deque()  # [second, n, failures, slow]
        self.n = self.failures = self.slow = 0

    def record(self, outcome: int, now: float) -> None:
        second = int(now)
        buckets = self._buckets
        if not buckets or buckets[-1][0] != second:
            self.expire(now)
            buckets.append([second, 0, 0, 0])
        bucket = buckets[-1]
        bucket[1] += 1
        self.n += 1
        if outcome:
            bucket[2] += outcome & FAILED
            bucket[3] += outcome >> 1
            self.failures += outcome & FAILED
            self.slow += outcome >> 1

    def expire(self, now: float) -> None:
        """Remove the seconds that have left the window."""
        oldest = int(now) - self._size
        buckets = self._buckets
        while buckets and buckets[0][0] <= oldest:
            _, n, failures, slow = buckets.popleft()
            self.n -= n
            self.failures -= failures
            self.slow -= slow


class RunWindow:
    """The current run of failures. One success empties it."""

    __slots__ = ("failures", "n", "slow")

    def __init__(self) -> None:
        self.n = self.failures = self.slow = 0

    def record(self, outcome: int, now: float) -> None:
        if outcome & FAILED:
            self.n += 1
            self.failures += 1
            self.slow += outcome >> 1
        else:
            self.n = self.failures = self.slow = 0

"""Precise timers: one kernel timer and a heap, because event loops round to milliseconds."""

import asyncio
import heapq
import itertools
import os
import time
from collections.abc import Callable
from typing import Protocol

from lab.proxy.data_path import timerfd


class Timer:
    """One scheduled call; `cancel()` may be called at any time, more than once."""

    __slots__ = ("run", "when_s")

    def __init__(self, when_s: float, run: Callable[[], None]) -> None:
        self.when_s = when_s
        self.run: Callable[[], None] | None = run

    def cancel(self) -> None:
        self.run = None


class Clock(Protocol):
    """The clock that a toxic uses; tests pass one that they advance by hand."""

    def now_s(self) -> float: ...

    def at(self, when_s: float, run: Callable[[], None]) -> Timer: ...


class Timers:
    """Runs calls at monotonic instants: never early, some tens of microseconds late."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._armed_s: float | None = None
        self._fd = timerfd.create()
        self._handle: asyncio.Handle | None = None
        if self._fd is not None:
            loop.add_reader(self._fd, self._fire)

    now_s = staticmethod(time.monotonic)

    def at(self, when_s: float, run: Callable[[], None]) -> Timer:
        timer = Timer(when_s, run)
        heapq.heappush(self._heap, (when_s, next(self._order), timer))
        if self._armed_s is None or when_s < self._armed_s:
            self._arm(when_s)
        return timer

    def close(self) -> None:
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    def _arm(self, when_s: float) -> None:
        self._armed_s = when_s
        if self._fd is not None:
            timerfd.set_at(self._fd, when_s)
            return
        # without timerfd: sleep until 2 ms before the instant, then poll
        if self._handle is not None:
            self._handle.cancel()
        wait_s = when_s - self.now_s() - 0.002
        if wait_s > 0:
            self._handle = self._loop.call_later(wait_s, self._fire)
        else:
            self._handle = self._loop.call_soon(self._fire)

    def _fire(self) -> None:
        if self._fd is not None:
            timerfd.acknowledge(self._fd)
        heap = self._heap
        now_s = self.now_s()
        self._armed_s = 0.0  # timers that these calls add are armed once, at the end
        try:
            while heap and (heap[0][0] <= now_s or heap[0][2].run is None):
                run = heapq.heappop(heap)[2].run
                if run is not None:
                    run()
        finally:
            self._armed_s = None
            if heap:
                self._arm(heap[0][0])

"""The clock that is passed to every policy, and a virtual one for tests."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Timer(Protocol):
    """A callback that runs later and can be cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Monotonic seconds, a sleep on the same scale, and one-shot timers."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer: ...


class SystemClock:
    """The running machine's monotonic clock and the running event loop's timers."""

    # A class attribute: an instance attribute would cost one more look-up per call.
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)


SYSTEM_CLOCK = SystemClock()


class _FakeTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Virtual time for tests. It moves only on request, or when every task waits.

    `run(main())` runs a coroutine in an event loop that uses this clock. When all tasks wait, time
    jumps to the next timer: an hour takes no longer than its events, and the same program always
    runs the same steps. Inside another loop use `await advance(seconds)`, without a loop
    `tick(seconds)`.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._order = (
            itertools.count()
        )  # timers due at the same time fire in the order of their creation
        self._timers: list[tuple[float, int, _FakeTimer]] = []

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = _FakeTimer(callback)
        heapq.heappush(self._timers, (self._now + max(0.0, seconds), next(self._order), timer))
        return timer

    def tick(self, seconds: float) -> None:
        """Move time without running tasks. Due timers fire in order."""
        until = self._now + seconds
        while self._fire_next(until):
            pass
        self._now = until

    async def advance(self, seconds: float, *, turns: int = 20) -> None:
        """Move time inside any loop. After each timer, tasks run for `turns` turns of the loop."""
        until = self._now + seconds
        await _yield(turns)
        while self._fire_next(until):
            await _yield(turns)
        self._now = until
        await _yield(turns)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end in virtual time.

        Raises RuntimeError when every task waits and no timer is set.
        """
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            return runner.run(main)

    def _fire_next(self, until: float) -> bool:
        while self._timers:
            due, _, timer = self._timers[0]
            if timer.callback is not None and due > until:
                return False
            heapq.heappop(self._timers)
            if timer.callback is not None:
                self._now = max(self._now, due)
                timer.callback()
                return True
        return False

    def _jump(self, at_most: float | None) -> None:
        """All tasks wait: move to the next timer, or by `at_most` seconds if that is sooner."""
        until = float("inf") if at_most is None else self._now + at_most
        if not self._fire_next(until):
            if at_most is None:
                raise RuntimeError("deadlock in virtual time: every task waits and no timer is set")
            self._now = until
        while self._fire_next(self._now):
            pass  # timers due at the same time fire in one turn of the loop, as in a real loop


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: FakeClock) -> None:
        self._fake = clock
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        return self._fake.monotonic()


class _JumpingSelector(selectors.DefaultSelector):
    """Moves virtual time where a real loop waits for the network."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []
        self._clock._jump(timeout)
        return []


async def _yield(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)

"""Time as a dependency: the clock every policy is given, and a virtual one for tests."""

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
    """A callback that is due later and can still be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Monotonic seconds, a sleep on the same scale, and one-shot timers."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer: ...


class SystemClock:
    """The running machine's monotonic clock and the running event loop's timers."""

    # An instance attribute would cost a lookup more on every protected call.
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)


SYSTEM_CLOCK = SystemClock()


class _FakeTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Virtual time for tests: it moves only when told to, or when every task waits.

    `run(main())` runs a coroutine in an event loop whose time is this clock: whenever all tasks
    wait, time jumps to the next timer, so an hour costs what its events cost, and the same
    program always takes the same steps. Inside another loop use `await advance(seconds)`;
    without any loop `tick(seconds)`.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._order = itertools.count()  # timers due at the same instant fire first come first
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

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = _FakeTimer(callback)
        heapq.heappush(self._timers, (self._now + max(0.0, seconds), next(self._order), timer))
        return timer

    def tick(self, seconds: float) -> None:
        """Move time without giving tasks a turn; due timers fire in order."""
        until = self._now + seconds
        while self._fire_next(until):
            pass
        self._now = until

    async def advance(self, seconds: float, *, turns: int = 20) -> None:
        """Move time inside any loop; after each timer tasks get `turns` turns to react."""
        until = self._now + seconds
        await _yield(turns)
        while self._fire_next(until):
            await _yield(turns)
        self._now = until
        await _yield(turns)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end in virtual time.

        Raises RuntimeError when every task waits for something that can never happen.
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
        """All tasks wait: go to the next timer, or by `at_most`, whichever is sooner."""
        until = float("inf") if at_most is None else self._now + at_most
        if not self._fire_next(until):
            if at_most is None:
                raise RuntimeError("deadlock in virtual time: every task waits and no timer is set")
            self._now = until
        while self._fire_next(self._now):
            pass  # timers of one instant fire in one turn of the loop, as in a real one


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: FakeClock) -> None:
        self._fake = clock
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        return self._fake.monotonic()


class _JumpingSelector(selectors.DefaultSelector):
    """Where a loop would wait for the network, jump in time instead."""

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

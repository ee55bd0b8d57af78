"""Time as the services see it: passed in, so that tests and faults can move it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from chassis.resilience import clock as resilience_clock


class Clock(resilience_clock.Clock, Protocol):
    """Monotonic seconds, sleep and timers as the policies need them, and the wall clock."""

    def now(self) -> datetime: ...


class SystemClock(resilience_clock.SystemClock):
    """The machine's clock; its wall time is shifted by the sum of `skews` in seconds (lab faults set them)."""

    skews: tuple[Callable[[], float], ...] = ()

    @property
    def skew_s(self) -> float:
        return sum(skew() for skew in self.skews)

    def now(self) -> datetime:
        now = datetime.now(UTC)
        return now + timedelta(seconds=self.skew_s) if self.skews else now

    def time_s(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.skew_s


_process: Clock = SystemClock()


def install(clock: Clock) -> None:
    """Make this the process' clock, which dates what nobody hands a clock to: its events."""
    global _process
    _process = clock


def process_now() -> datetime:
    """The wall time by the process' clock."""
    return _process.now()

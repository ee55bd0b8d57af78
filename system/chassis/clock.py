"""The clock of a service. It is passed in, so that tests and faults can change the time."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from chassis.resilience import clock as resilience_clock


class Clock(resilience_clock.Clock, Protocol):
    """Monotonic seconds, sleep and timers for the policies, and the wall clock."""

    def now(self) -> datetime: ...


class SystemClock(resilience_clock.SystemClock):
    """The machine's clock. Its wall time is shifted by the sum of `skews` in seconds, set by faults."""

    skews: tuple[Callable[[], float], ...] = ()

    @property
    def skew_s(self) -> float:
        """The sum of all skews in seconds."""
        return sum(skew() for skew in self.skews)

    def now(self) -> datetime:
        now = datetime.now(UTC)
        return now + timedelta(seconds=self.skew_s) if self.skews else now

    def time_s(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.skew_s


_process: Clock = SystemClock()


def install(clock: Clock) -> None:
    """Make this the clock of the process, for code that is not given a clock: events."""
    global _process
    _process = clock


def process_now() -> datetime:
    """The wall time by the clock of the process."""
    return _process.now()

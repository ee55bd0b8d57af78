"""Time as the services see it: passed in, so that tests and faults can move it."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from chassis.resilience import clock as resilience_clock


class Clock(resilience_clock.Clock, Protocol):
    """Monotonic seconds, sleep and timers as the policies need them, and the wall clock."""

    def now(self) -> datetime: ...


class SystemClock(resilience_clock.SystemClock):
    """The machine's clock; its wall time is shifted by `skew_s` seconds (a lab fault sets it)."""

    skew_s: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.skew_s)

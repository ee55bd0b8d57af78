"""skew: the service's wall clock is wrong: by a jump, a drift, or both."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chassis.faults.fault import PROCESS, Fault, FaultError
from chassis.faults.host import Holding


@dataclass(frozen=True)
class Skew(Fault):
    """Several skews add up. The monotonic clock, timeouts and the database's clock stay correct."""

    kind = "skew"
    doc = "the service's clock jumps by offset_ms and gains drift_ms_per_s; both may be negative"
    points = (PROCESS,)
    signed = ("offset_ms", "drift_ms_per_s")
    offset_ms: float = 0.0
    drift_ms_per_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.offset_ms and not self.drift_ms_per_s:
            raise FaultError("skew: one of offset_ms and drift_ms_per_s is required")
        if abs(self.offset_ms) > 1e12 or abs(self.drift_ms_per_s) > 1e6:
            raise FaultError("skew: at most 1e12 ms, and 1e6 ms a second")

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        clock, began = holding.host.clock, time.monotonic()

        def skew_s() -> float:
            return (self.offset_ms + self.drift_ms_per_s * (time.monotonic() - began)) / 1000

        clock.skews = (*clock.skews, skew_s)
        try:
            holding.hit()
            yield
        finally:
            clock.skews = tuple(each for each in clock.skews if each is not skew_s)

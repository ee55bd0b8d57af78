"""gray_failure: the health checks succeed, and a share of the real traffic is slow or fails."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, FaultAbortedError, FaultError, Proceed


@dataclass(frozen=True)
class GrayFailure(Fault):
    """/health, /ready and /metrics are no exchanges: the fault does not change them."""

    kind = "gray_failure"
    doc = "fail_share of the requests fail with `status`, slow_share wait latency_ms; health checks succeed"
    points = ("inbound",)
    fail_share: float = 0.0
    slow_share: float = 0.0
    latency_ms: float = 1000.0
    status: int = 500

    def __post_init__(self) -> None:
        if not 0 < self.fail_share + self.slow_share <= 1:
            raise FaultError("gray_failure: fail_share + slow_share: expected above 0 and up to 1")
        if not 400 <= self.status <= 599:
            raise FaultError(f"gray_failure.status: expected 400 to 599, got {self.status}")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        drawn = rng.random()
        if drawn < self.fail_share:
            raise FaultAbortedError(int(self.status))
        if drawn < self.fail_share + self.slow_share:
            await asyncio.sleep(self.latency_ms / 1000)
        return await proceed()

"""latency: delays a request, a statement, or an operation at the broker, cache or registry."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import EXCHANGES, Fault, Proceed


@dataclass(frozen=True)
class Latency(Fault):
    """Waits uniformly in [latency_ms - jitter_ms, latency_ms + jitter_ms], never below 0."""

    kind = "latency"
    doc = "each exchange waits latency_ms +- jitter_ms before it continues"
    points = EXCHANGES
    latency_ms: float
    jitter_ms: float = 0.0

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        wait_ms = self.latency_ms + self.jitter_ms * rng.uniform(-1, 1)
        await asyncio.sleep(max(0.0, wait_ms) / 1000)
        return await proceed()

"""latency: what passes waits first; a slow request, statement, broker, cache or registry."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import EXCHANGES, Proceed


@dataclass(frozen=True)
class Latency:
    """Waits uniformly in [latency_ms - jitter_ms, latency_ms + jitter_ms], never below 0."""

    kind: ClassVar[str] = "latency"
    doc: ClassVar[str] = "each exchange waits latency_ms +- jitter_ms before it goes on"
    points: ClassVar[tuple[str, ...]] = EXCHANGES
    latency_ms: float
    jitter_ms: float = 0.0

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        wait_ms = self.latency_ms + self.jitter_ms * rng.uniform(-1, 1)
        await asyncio.sleep(max(0.0, wait_ms) / 1000)
        return await proceed()

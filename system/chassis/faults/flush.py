"""flush: deletes the service's keys from the cache, once or repeatedly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chassis.faults.fault import PROCESS, Fault, FaultError
from chassis.faults.host import Holding
from chassis.faults.repeat import repeating


@dataclass(frozen=True)
class Flush(Fault):
    kind = "flush"
    doc = "all of the service's cache keys are deleted, and again every every_ms (0: once)"
    points = (PROCESS,)
    every_ms: float = 0.0

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        caches = holding.host.caches
        if not caches:
            raise FaultError("flush: this service has no cache")

        async def flush() -> None:
            await asyncio.gather(*(cache.flush() for cache in caches))
            holding.hit()

        await flush()
        async with repeating(flush, self.every_ms / 1000):
            yield

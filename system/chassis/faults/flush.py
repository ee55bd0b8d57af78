"""flush: the service's keys vanish from the cache, once or again and again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from chassis.faults.fault import PROCESS, FaultError
from chassis.faults.host import Tenure
from chassis.faults.repeat import repeating


@dataclass(frozen=True)
class Flush:
    kind: ClassVar[str] = "flush"
    doc: ClassVar[str] = (
        "all of the service's cache keys are deleted, again each every_ms (0: once)"
    )
    points: ClassVar[tuple[str, ...]] = (PROCESS,)
    every_ms: float = 0.0

    @asynccontextmanager
    async def hold(self, tenure: Tenure) -> AsyncIterator[None]:
        caches = tenure.host.caches
        if not caches:
            raise FaultError("flush: this service has no cache")

        async def flush() -> None:
            await asyncio.gather(*(cache.flush() for cache in caches))
            tenure.hit()

        await flush()
        async with repeating(flush, self.every_ms / 1000):
            yield

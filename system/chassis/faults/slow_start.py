"""slow_start: the instance takes longer to become ready, each time it starts."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import START, Proceed


@dataclass(frozen=True)
class SlowStart:
    """Acts at the next starts, not on the process that is told; the end of the fault ends the wait."""

    kind: ClassVar[str] = "slow_start"
    doc: ClassVar[str] = "each start until the TTL takes delay_s seconds longer to be ready"
    points: ClassVar[tuple[str, ...]] = (START,)
    single: ClassVar[bool] = True
    survives: ClassVar[bool] = True
    delay_s: float

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        try:
            async with asyncio.timeout(self.delay_s):
                await proceed.ended.wait()
        except TimeoutError:
            pass
        return await proceed()

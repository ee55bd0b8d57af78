"""slow_start: the instance takes longer to become ready at each start."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import START, Fault, Proceed


@dataclass(frozen=True)
class SlowStart(Fault):
    """Acts at later starts, not on the process that arms it; the end of the fault ends the wait."""

    kind = "slow_start"
    doc = "at each start until the TTL the instance is ready delay_s seconds later"
    points = (START,)
    single = True
    survives = True
    delay_s: float

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        try:
            async with asyncio.timeout(self.delay_s):
                await proceed.ended.wait()
        except TimeoutError:
            pass
        return await proceed()

"""block_loop: blocking code runs on the event loop: nothing else runs in that time."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chassis.faults.fault import PROCESS, Fault, FaultError
from chassis.faults.host import Holding
from chassis.faults.repeat import repeating


@dataclass(frozen=True)
class BlockLoop(Fault):
    """Never blocks past the TTL, although the TTL's own timer also waits for the loop."""

    kind = "block_loop"
    doc = "the event loop is blocked for block_ms, then free for every_ms, repeatedly"
    points = (PROCESS,)
    block_ms: float
    every_ms: float = 1000.0

    def __post_init__(self) -> None:
        if self.block_ms <= 0 or self.every_ms <= 0:
            raise FaultError("block_loop: block_ms and every_ms: expected above 0")

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        async def block() -> None:
            seconds = min(self.block_ms / 1000, holding.ends_at - time.monotonic())
            if seconds > 0:
                holding.hit()
                time.sleep(seconds)  # noqa: ASYNC251 - blocking is what this fault is for

        async with repeating(block, self.every_ms / 1000):
            yield

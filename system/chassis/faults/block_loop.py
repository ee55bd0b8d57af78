"""block_loop: something blocking sits on the event loop: nothing else moves meanwhile."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from chassis.faults.fault import PROCESS, FaultError
from chassis.faults.host import Tenure
from chassis.faults.repeat import repeating


@dataclass(frozen=True)
class BlockLoop:
    """Never blocks past the TTL, though the timer that enforces it waits for the loop as well."""

    kind: ClassVar[str] = "block_loop"
    doc: ClassVar[str] = "the event loop is blocked for block_ms, then free for every_ms, and again"
    points: ClassVar[tuple[str, ...]] = (PROCESS,)
    block_ms: float
    every_ms: float = 1000.0

    def __post_init__(self) -> None:
        if self.block_ms <= 0 or self.every_ms <= 0:
            raise FaultError("block_loop: block_ms and every_ms: expected above 0")

    @asynccontextmanager
    async def hold(self, tenure: Tenure) -> AsyncIterator[None]:
        async def block() -> None:
            seconds = min(self.block_ms / 1000, tenure.ends_at - time.monotonic())
            if seconds > 0:
                tenure.hit()
                time.sleep(seconds)  # noqa: ASYNC251 - blocking is what this fault is for

        async with repeating(block, self.every_ms / 1000):
            yield

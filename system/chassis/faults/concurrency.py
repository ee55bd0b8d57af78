"""concurrency: the server handles a limited number of requests at once; the others queue."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, FaultError, Proceed


@dataclass(frozen=True)
class Concurrency(Fault):
    """Capacity is at_once / (hold_ms + the handler's own time) a second.

    The queue is first in, first out, and has no bound. As in a real server's queue, a request whose caller has
    given up keeps its place and is handled.
    """

    kind = "concurrency"
    doc = "at_once requests are handled at a time, each takes hold_ms longer; others queue"
    at_once: int = 1
    hold_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.at_once < 1 or self.at_once != int(self.at_once):
            raise FaultError(f"concurrency.at_once: expected 1 or more, got {self.at_once}")
        object.__setattr__(self, "_places", asyncio.Semaphore(int(self.at_once)))

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        places: asyncio.Semaphore = self._places  # type: ignore[attr-defined]
        async with places:
            await asyncio.sleep(self.hold_ms / 1000)
            return await proceed()

"""concurrency: a server that handles only so many requests at once; the others wait in line."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import FaultError, Proceed


@dataclass(frozen=True)
class Concurrency:
    """Capacity is at_once / (hold_ms + the handler's own time) a second.

    First come, first served, without a bound. As in a real server's queue, a request whose caller
    has given up keeps its place and is worked on all the same.
    """

    kind: ClassVar[str] = "concurrency"
    doc: ClassVar[str] = (
        "at_once requests are handled at a time, each for hold_ms more; others queue"
    )
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

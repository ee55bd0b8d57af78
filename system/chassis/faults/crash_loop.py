"""crash_loop: the process ends some time after each of its starts."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chassis.faults.fault import PROCESS, Fault, FaultError
from chassis.faults.host import Holding


@dataclass(frozen=True)
class CrashLoop(Fault):
    """The next process arms it again from the instance's file, until the TTL; it counts from the command."""

    kind = "crash_loop"
    doc = "SIGKILL after_s seconds after the command, and after each start until the TTL"
    points = (PROCESS,)
    single = True
    survives = True
    after_s: float = 1.0

    def __post_init__(self) -> None:
        if self.after_s <= 0:
            raise FaultError(f"crash_loop.after_s: expected above 0, got {self.after_s}")

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        def die() -> None:
            if not holding.ended.is_set():
                holding.hit()  # writes the count to the file: this process cannot report it
                os.kill(os.getpid(), signal.SIGKILL)

        timer = asyncio.get_running_loop().call_later(self.after_s, die)
        try:
            yield
        finally:
            timer.cancel()

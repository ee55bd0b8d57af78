"""crash_loop: the process dies some time after each of its starts."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from chassis.faults.fault import PROCESS, FaultError
from chassis.faults.host import Tenure


@dataclass(frozen=True)
class CrashLoop:
    """The next process arms it again from the instance's file, until the TTL counted from the command."""

    kind: ClassVar[str] = "crash_loop"
    doc: ClassVar[str] = (
        "SIGKILL after_s seconds after the command, and after each start until the TTL"
    )
    points: ClassVar[tuple[str, ...]] = (PROCESS,)
    single: ClassVar[bool] = True
    survives: ClassVar[bool] = True
    after_s: float = 1.0

    def __post_init__(self) -> None:
        if self.after_s <= 0:
            raise FaultError(f"crash_loop.after_s: expected above 0, got {self.after_s}")

    @asynccontextmanager
    async def hold(self, tenure: Tenure) -> AsyncIterator[None]:
        def die() -> None:
            if not tenure.ended.is_set():
                tenure.hit()  # counted in the file: this process will not be asked
                os.kill(os.getpid(), signal.SIGKILL)

        timer = asyncio.get_running_loop().call_later(self.after_s, die)
        try:
            yield
        finally:
            timer.cancel()

"""Background tasks that are restarted when they fail."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from chassis.clock import Clock

log = logging.getLogger("chassis.background")
PAUSE_S_MIN = 0.1  # before the first restart, doubled each time
PAUSE_S_MAX = 5.0
STABLE_S = 60.0  # a task that ran for so long restarts after the shortest pause again


async def supervise(name: str, work: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Run `work` until it returns. If it raises, log the error and restart it after a pause."""
    pause_s = PAUSE_S_MIN
    while True:
        started = clock.monotonic()
        try:
            await work()
            return
        except Exception:
            log.exception("%s failed and is restarted", name)
        if clock.monotonic() - started > STABLE_S:
            pause_s = PAUSE_S_MIN
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, PAUSE_S_MAX)

"""Background tasks that are restarted when they fail."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from chassis.clock import Clock
from chassis.unavailable import dependency_is_down

log = logging.getLogger("chassis.background")
PAUSE_S_MIN = 0.1  # before the first restart, doubled each time
PAUSE_S_MAX = 5.0
STABLE_S = 60.0  # a task that ran for so long restarts after the shortest pause again


async def supervise(name: str, work: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Run `work` until it returns. If it raises, log the error and restart it after a pause.

    A dependency that cannot be reached is a warning, any other error is an error with its traceback.
    """
    pause_s = PAUSE_S_MIN
    while True:
        started = clock.monotonic()
        try:
            await work()
            return
        except Exception as error:
            if dependency_is_down(error):
                text = str(error) or type(error).__name__
                log.warning("%s waits for a dependency: %s", name, text)
            else:
                log.exception("%s failed and is restarted", name)
        if clock.monotonic() - started > STABLE_S:
            pause_s = PAUSE_S_MIN
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, PAUSE_S_MAX)

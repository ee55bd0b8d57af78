"""Background tasks: restarted when they fail, and awake at the same moments."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from chassis.clock import Clock
from chassis.unavailable import dependency_is_down

log = logging.getLogger("chassis.background")
PAUSE_S_MIN = 0.1  # before the first restart, doubled each time
PAUSE_S_MAX = 5.0
STABLE_S = 60.0  # a task that ran for so long restarts after the shortest pause again


def until_beat_s(period_s: float) -> float:
    """Seconds until the clock shows the next multiple of the period; at least a tenth of a period.

    The processes of a machine share this clock, so that periodic work of all of them wakes it at the same moments:
    an idle process then handles the heartbeats of all others, and its own work, in one turn of its event loop.
    """
    left_s = period_s - time.monotonic() % period_s
    return left_s if left_s > period_s / 10 else left_s + period_s


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

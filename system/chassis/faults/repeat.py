"""Doing something again and again while a fault holds."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

log = logging.getLogger("chassis.faults")


@asynccontextmanager
async def repeating(work: Callable[[], Awaitable[None]], every_s: float) -> AsyncIterator[None]:
    """While the block runs, do `work` each `every_s`; 0: not at all. A failure is logged, not the end."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await work()
            except Exception as error:
                log.warning("fault: %s", error)

    task = asyncio.create_task(repeat()) if every_s else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

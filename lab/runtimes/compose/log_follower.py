"""Copies the output of containers into the lab's log files, one file per container."""

import asyncio
import os
from pathlib import Path

import aiohttp

from lab.runtimes.compose.engine import Engine, EngineRefusedError

AGAIN_S = 0.2


class LogFollower:
    """Follows one container through its restarts, from `since_s` on: the file has the earlier lines."""

    def __init__(self, engine: Engine, container: str, log: Path, since_s: float) -> None:
        self._engine = engine
        self._container = container
        self._log = log
        self._since_s = since_s
        self._started = asyncio.Event()
        self._started.set()
        self._task = asyncio.create_task(self._follow(), name=f"log of {log.stem}")

    def started(self, at_s: float) -> None:
        """Report that the container started (again) at this time."""
        self._since_s = max(self._since_s, at_s)
        self._started.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _follow(self) -> None:
        file = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            while True:
                await self._started.wait()
                self._started.clear()
                try:
                    async for piece in self._engine.logs(self._container, self._since_s):
                        os.write(file, piece)
                except (aiohttp.ClientError, EngineRefusedError, OSError):
                    await asyncio.sleep(AGAIN_S)  # the engine is down, or the disk is full
        finally:
            os.close(file)

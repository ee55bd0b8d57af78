"""Serves the recorder's API."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from lab.recorder.api.routes import create_app
from lab.recorder.recorder import Recorder

DATE_S = 1.0
STARTUP_FAILED = 3  # as uvicorn.run exits


def serve(port: int, lab_dir: Path, host: str = "127.0.0.1", collector: str = "") -> None:
    """Serves until SIGTERM or SIGINT, then finishes a current recording.

    Used by `python -m lab.recorder` and by a forked child. Exits with a non-zero code if the port is in use.
    """
    config = uvicorn.Config(
        create_app(Recorder(lab_dir, collector)),
        host=host,
        port=port,
        http="httptools",
        loop="asyncio",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        limit_concurrency=64,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    server.run()
    if not server.started:
        sys.exit(STARTUP_FAILED)


class _Server(uvicorn.Server):
    """uvicorn that waits for its end instead of looking for it ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # renews the header `Date`
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_S):
                    await self._ending.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        asyncio.get_running_loop().call_soon_threadsafe(self._ending.set)

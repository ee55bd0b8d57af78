"""Turns full segments into Parquet while the recording goes on, in a niced process of its own.

A process, since DuckDB's memory would stay in the recorder and its work would hold up the intake.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

log = logging.getLogger("lab.recorder")
COMMAND = (sys.executable, "-m", "lab.archive.compact")


class Compaction:
    """One segment at a time; what is not done at `stop` stays NDJSON, and sealing does it."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self._segments: asyncio.Queue[Path] = asyncio.Queue()
        self._working = asyncio.create_task(self._work())

    def add(self, segment: Path) -> None:
        self._segments.put_nowait(segment)

    async def stop(self) -> None:
        self._working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._working

    async def _work(self) -> None:
        while True:
            segment = await self._segments.get()
            try:
                compacted = await _compact(segment)
            except OSError as error:  # no process to be had
                log.error("%s stays as it is: %s", segment.name, error)
                compacted = False
            self.done += compacted
            self.failed += not compacted


async def _compact(segment: Path) -> bool:
    child = await asyncio.create_subprocess_exec(
        *COMMAND, str(segment), stdin=asyncio.subprocess.DEVNULL
    )
    try:
        return await child.wait() == 0
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        raise

"""Converts full segments to Parquet during the recording, in a separate niced process.

A thread would keep DuckDB's memory in the recorder and would delay the intake.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

READERS_S = 30.0  # a query that began with the NDJSON of a segment has so long to end
log = logging.getLogger("lab.recorder")
COMMAND = (sys.executable, "-m", "lab.archive.compact")


class Compaction:
    """Converts one segment at a time; at `stop` the rest stays NDJSON, which sealing converts."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self._segments: asyncio.Queue[Path] = asyncio.Queue()
        self._removals: dict[Path, asyncio.TimerHandle] = {}
        self._working = asyncio.create_task(self._work())

    def add(self, segment: Path) -> None:
        self._segments.put_nowait(segment)

    async def stop(self) -> None:
        self._working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._working
        for segment, removal in list(self._removals.items()):
            removal.cancel()
            self._remove(segment)

    def _remove(self, segment: Path) -> None:
        del self._removals[segment]
        segment.unlink(missing_ok=True)

    async def _work(self) -> None:
        while True:
            segment = await self._segments.get()
            try:
                compacted = await _compact(segment)
            except OSError as error:  # the process could not start
                log.error("%s is not compacted: %s", segment.name, error)
                compacted = False
            self.done += compacted
            self.failed += not compacted
            if compacted:
                later = asyncio.get_running_loop().call_later
                self._removals[segment] = later(READERS_S, self._remove, segment)


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

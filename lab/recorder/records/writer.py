"""Append-only NDJSON tables: rows collect in bounded memory and reach the file in batches."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

TABLES = ("spans", "logs", "metrics", "breakers", "faults")
SEGMENTED = ("spans", "logs", "metrics", "breakers")  # to faults others append as well

PENDING_BYTES_MAX = 32 * 1024 * 1024
FLUSH_INTERVAL_S = 0.25  # a kill -9 loses at most this and one write: well under a second
SEGMENT_BYTES = 64 * 1024 * 1024

log = logging.getLogger("lab.recorder")


class Writer:
    """The open tables of one run directory.

    `add` never waits and never grows beyond `pending_bytes_max` in all: what does not fit is shed
    and counted. Call `flush` now and then, `close` at the end. One event loop owns a writer.
    A table's file that has reached `segment_bytes` is put aside as `<table>.<number>.ndjson`, and
    `on_segment` is told.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        pending_bytes_max: int = PENDING_BYTES_MAX,
        segment_bytes: int = SEGMENT_BYTES,
        on_segment: Callable[[Path], None] = lambda segment: None,
    ) -> None:
        self.rows = dict.fromkeys(TABLES, 0)
        self.shed = dict.fromkeys(TABLES, 0)
        self.error = ""
        self._pending_bytes_max = pending_bytes_max
        self._pending_bytes = 0
        self._pending: dict[str, list[tuple[bytes, int]]] = {table: [] for table in TABLES}
        self._files = {table: TableFile(run_dir, table) for table in TABLES}
        self._failing: set[str] = set()
        self._flushing = asyncio.Lock()
        self._segment_bytes = segment_bytes
        self._on_segment = on_segment

    def add(self, table: str, lines: bytes, rows: int = 1) -> bool:
        """Queue `rows` whole lines (each ends in a newline); False if they were shed."""
        if self._pending_bytes + len(lines) > self._pending_bytes_max:
            self.shed[table] += rows
            return False
        self._pending_bytes += len(lines)
        self._pending[table].append((lines, rows))
        return True

    async def flush(self) -> None:
        """Write all that is queued; a failing disk costs the batch, which counts as shed."""
        async with self._flushing:
            for table, batch in self._pending.items():
                if batch:
                    self._pending[table] = []
                    await self._write(table, batch)

    async def close(self) -> None:
        """Write what is left and close the files."""
        await self.flush()
        for file in self._files.values():
            file.close()

    async def _write(self, table: str, batch: list[tuple[bytes, int]]) -> None:
        lines = b"".join(chunk for chunk, _ in batch)
        rows = sum(count for _, count in batch)
        file = self._files[table]
        try:
            # In a thread: a slow disk must not stop the intake, only fill the bounded queue.
            await asyncio.to_thread(file.append, lines)
        except OSError as error:
            self.shed[table] += rows
            self.error = f"{table}.ndjson: {error.strerror}"
            if table not in self._failing:  # said once, counted always
                self._failing.add(table)
                log.error("%s: its rows are shed until it can be written again", self.error)
            return
        finally:
            self._pending_bytes -= len(lines)
        self.rows[table] += rows
        if table in self._failing:
            self._failing.remove(table)
            log.warning("%s.ndjson is written again", table)
        if table in SEGMENTED and file.size >= self._segment_bytes:
            await self._put_aside(table)

    async def _put_aside(self, table: str) -> None:
        try:
            segment = await asyncio.to_thread(self._files[table].put_aside)
        except OSError as error:  # then this file simply grows on
            self.error = f"{table}.ndjson cannot be put aside: {error.strerror}"
        else:
            self._on_segment(segment)


class TableFile:
    """`<table>.ndjson`, appended to; a line that a failure or a kill tore is ended first."""

    def __init__(self, run_dir: Path, table: str) -> None:
        self._path = run_dir / f"{table}.ndjson"
        numbered = re.compile(rf"{table}\.(\d+)\.(?:ndjson|parquet)")
        found = [numbered.fullmatch(path.name) for path in run_dir.iterdir()]
        self._segments = max((int(name[1]) for name in found if name), default=0)
        self._open()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._file = os.open(self._path, flags, 0o644)
        self.size = os.fstat(self._file).st_size
        self._torn = self.size > 0 and os.pread(self._file, 1, self.size - 1) != b"\n"

    def append(self, lines: bytes) -> None:
        """Raises OSError; what was written of `lines` by then is at most cut off in a line."""
        view = memoryview(b"\n" + lines if self._torn else lines)
        while view:
            self._torn = True
            written = os.write(self._file, view)
            self.size += written
            view = view[written:]
        self._torn = False

    def put_aside(self) -> Path:
        """Rename the file to the next segment and go on in a new one; the segment's path."""
        segment = self._path.with_suffix(f".{self._segments + 1:06}.ndjson")
        os.rename(self._path, segment)
        self._segments += 1
        full = self._file
        self._open()
        os.close(full)
        return segment

    def close(self) -> None:
        os.close(self._file)

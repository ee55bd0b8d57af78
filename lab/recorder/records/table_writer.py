"""Append-only NDJSON tables: rows are queued in bounded memory and written in batches."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

from lab.recorder.names import NUMBERED, RECORDED

SEGMENTED = NUMBERED  # not faults: other processes append to it

PENDING_BYTES_MAX = 32 * 1024 * 1024
FLUSH_INTERVAL_S = 0.25  # a kill -9 loses at most this and one write: well under a second
SEGMENT_BYTES = 64 * 1024 * 1024

log = logging.getLogger("lab.recorder")


class TableWriter:
    """The open tables of one run directory.

    `add` never waits, and the queue never exceeds `pending_bytes_max`: rows that do not fit are shed and
    counted. Call `flush` regularly and `close` at the end. One event loop owns a writer.
    A file that reaches `segment_bytes` is renamed to `<table>.<number>.ndjson`, and `on_segment` is called.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        pending_bytes_max: int = PENDING_BYTES_MAX,
        segment_bytes: int = SEGMENT_BYTES,
        on_segment: Callable[[Path], None] = lambda segment: None,
    ) -> None:
        self.rows = dict.fromkeys(RECORDED, 0)
        self.shed = dict.fromkeys(RECORDED, 0)
        self.error = ""
        self._pending_bytes_max = pending_bytes_max
        self._pending_bytes = 0
        self._pending: dict[str, list[tuple[bytes, int]]] = {table: [] for table in RECORDED}
        self._files = {table: TableFile(run_dir, table) for table in RECORDED}
        self._failing: set[str] = set()
        self._flushing = asyncio.Lock()
        self._segment_bytes = segment_bytes
        self._on_segment = on_segment

    def add(self, table: str, lines: bytes, rows: int = 1) -> bool:
        """Queues `rows` JSON objects, one a line; returns False if they were shed."""
        if self._pending_bytes + len(lines) > self._pending_bytes_max:
            self.shed[table] += rows
            return False
        self._pending_bytes += len(lines)
        self._pending[table].append((lines, rows))
        return True

    async def flush(self) -> None:
        """Writes all queued rows; a batch that the disk refuses counts as shed."""
        async with self._flushing:
            for table, batch in self._pending.items():
                if batch:
                    self._pending[table] = []
                    await self._write(table, batch)

    async def close(self) -> None:
        """Writes the rest and closes the files."""
        await self.flush()
        for file in self._files.values():
            file.close()

    async def _write(self, table: str, batch: list[tuple[bytes, int]]) -> None:
        lines = b"".join(chunk for chunk, _ in batch)
        rows = sum(count for _, count in batch)
        file = self._files[table]
        numbered = with_seq(lines, self.rows[table]) if table in NUMBERED else lines
        try:
            # in a thread: a slow disk must not stop the intake, only fill the bounded queue
            await asyncio.to_thread(file.append, numbered)
        except OSError as error:
            self.shed[table] += rows
            self.error = f"{table}.ndjson: {error.strerror}"
            if table not in self._failing:  # logged once, counted always
                self._failing.add(table)
                log.error("%s: its rows are shed until it can be written again", self.error)
            return
        finally:
            self._pending_bytes -= len(lines)
        self.rows[table] += rows
        if table in self._failing:
            self._failing.remove(table)
            log.warning("%s.ndjson can be written again", table)
        if table in SEGMENTED and file.size >= self._segment_bytes:
            await self._put_aside(table)

    async def _put_aside(self, table: str) -> None:
        try:
            segment = await asyncio.to_thread(self._files[table].put_aside)
        except OSError as error:  # the file continues to grow
            self.error = f"{table}.ndjson cannot be put aside: {error.strerror}"
        else:
            self._on_segment(segment)


def with_seq(lines: bytes, first: int) -> bytes:
    """The JSON lines with their place in the table as first member, `seq`."""
    numbered = enumerate(lines.splitlines(keepends=True), first)
    return b"".join(b'{"seq":%d,%b' % (seq, line[1:]) for seq, line in numbered)


class TableFile:
    """`<table>.ndjson`, for appending; ends a line first that a failure or a kill cut off."""

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
        """Appends lines. Raises OSError; the last line written may then be incomplete."""
        view = memoryview(b"\n" + lines if self._torn else lines)
        while view:
            self._torn = True
            written = os.write(self._file, view)
            self.size += written
            view = view[written:]
        self._torn = False

    def put_aside(self) -> Path:
        """Renames the file to the next segment, opens a new file and returns the segment's path."""
        segment = self._path.with_suffix(f".{self._segments + 1:06}.ndjson")
        os.rename(self._path, segment)
        self._segments += 1
        full = self._file
        self._open()
        os.close(full)
        return segment

    def close(self) -> None:
        os.close(self._file)

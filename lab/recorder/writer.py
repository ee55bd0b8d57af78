"""Append-only NDJSON tables: rows collect in bounded memory and reach the file in batches."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

TABLES = ("spans", "logs", "metrics", "breakers", "faults")

PENDING_BYTES_MAX = 32 * 1024 * 1024
FLUSH_INTERVAL_S = 0.25  # a kill -9 loses at most this and one write: well under a second


class Writer:
    """The open tables of one run directory.

    `add` never waits and never grows beyond `pending_bytes_max` in all: what does not fit is shed
    and counted. Call `flush` now and then, `close` at the end. One event loop owns a writer.
    """

    def __init__(self, run_dir: Path, *, pending_bytes_max: int = PENDING_BYTES_MAX) -> None:
        self.rows = dict.fromkeys(TABLES, 0)
        self.shed = dict.fromkeys(TABLES, 0)
        self.error = ""
        self._pending_bytes_max = pending_bytes_max
        self._pending_bytes = 0
        self._pending: dict[str, list[tuple[bytes, int]]] = {table: [] for table in TABLES}
        self._files = {table: _open_to_append(run_dir / f"{table}.ndjson") for table in TABLES}
        self._torn: set[str] = set()
        self._flushing = asyncio.Lock()

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
            os.close(file)

    async def _write(self, table: str, batch: list[tuple[bytes, int]]) -> None:
        lines = b"".join(chunk for chunk, _ in batch)
        rows = sum(count for _, count in batch)
        size = len(lines)
        if table in self._torn:
            lines = b"\n" + lines
        try:
            # In a thread: a slow disk must not stop the intake, only fill the bounded queue.
            await asyncio.to_thread(_write_all, self._files[table], lines)
        except OSError as error:
            self.shed[table] += rows
            self.error = f"{table}.ndjson: {error.strerror}"
            self._torn.add(table)
        else:
            self.rows[table] += rows
            self._torn.discard(table)
        finally:
            self._pending_bytes -= size


def _open_to_append(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        # A killed predecessor left half a line: end it, so that only that one line is lost.
        _write_all(file, b"\n")
    return file


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]

"""Follows log files from their current end; handles rotation, truncation and incomplete lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 256 * 1024
LINE_BYTES_MAX = 1024 * 1024


class TailedFile:
    """One followed file; `lines` yields the complete lines added since the last call."""

    def __init__(self, path: Path, *, from_end: bool) -> None:
        self.path = path
        self._open()
        if from_end:
            self._offset = self._file.seek(0, os.SEEK_END)
            # a line that is incomplete now started before now: skip its end too
            self._skip_to_newline = self._offset > 0 and self._byte_before_offset() != b"\n"

    def _open(self) -> None:
        self._file = self.path.open("rb", buffering=0)
        self._start_over()

    def _start_over(self) -> None:
        self._offset = 0
        self._rest = b""
        self._skip_to_newline = False

    def lines(self) -> Iterator[bytes]:
        """Yields complete lines without newline; after a rotation those of the old file first."""
        yield from self._read_to_end()
        if self._rotated():
            if self._rest:
                yield self._rest  # its writer has gone: this line will stay incomplete
            self._file.close()
            self._open()
            yield from self._read_to_end()

    def close(self) -> None:
        self._file.close()

    def _read_to_end(self) -> Iterator[bytes]:
        if os.fstat(self._file.fileno()).st_size < self._offset:
            self._start_over()  # truncated
        self._file.seek(self._offset)
        while chunk := self._file.read(CHUNK_BYTES):
            self._offset += len(chunk)
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            if self._skip_to_newline and whole:
                del whole[0]
                self._skip_to_newline = False
            yield from (line for line in whole if line.strip())
            if len(self._rest) > LINE_BYTES_MAX:
                self._rest, self._skip_to_newline = b"", True  # not a log line

    def _rotated(self) -> bool:
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        here = os.fstat(self._file.fileno())
        return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev)

    def _byte_before_offset(self) -> bytes:
        self._file.seek(self._offset - 1)
        return self._file.read(1)


class Tail:
    """All `*.jsonl` of `folder`: existing files from their end, later files from their start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, TailedFile] = {}
        self._find(from_end=True)

    def poll(self) -> Iterator[tuple[str, bytes]]:
        """Yields (instance, line) for each new line; the instance is the file's stem."""
        self._find(from_end=False)
        for path, file in self._files.items():
            for line in file.lines():
                yield path.stem, line

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _find(self, *, from_end: bool) -> None:
        for path in sorted(self._folder.glob("*.jsonl")):
            if path not in self._files:
                try:
                    self._files[path] = TailedFile(path, from_end=from_end)
                except FileNotFoundError:
                    continue  # deleted between the listing and the opening

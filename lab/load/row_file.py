"""Append-only NDJSON files, written in batches: a kill loses at most the last second."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

ROWS_A_BATCH = 200


class RowFile:
    """`append` buffers a row, `flush` writes whole lines; the owner calls `flush` each second."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lines: list[str] = []

    def append(self, row: dict[str, Any]) -> None:
        self._lines.append(json.dumps(row, separators=(",", ":")))
        if len(self._lines) >= ROWS_A_BATCH:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            data = memoryview(("\n".join(lines) + "\n").encode())
            while data:
                data = data[os.write(self._file, data) :]

    def close(self) -> None:
        self.flush()
        os.close(self._file)

"""Writes files atomically: a reader sees the old content or the new content, never a part of it."""

import json
import os
from pathlib import Path
from typing import Any


def write_atomic(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a new file beside `path` and rename it to `path`. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_private(path: Path, text: str) -> None:
    """Write `text` atomically, readable by the owner only."""
    write_atomic(path, text, mode=0o600)


def write_json(path: Path, content: Any) -> None:
    """Write `content` atomically as indented JSON."""
    write_atomic(path, json.dumps(content, indent=2) + "\n")

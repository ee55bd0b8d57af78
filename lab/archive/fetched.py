"""Writes a table fetched from a running system into a new archive or an existing one."""

from __future__ import annotations

import tempfile
import urllib.parse
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from lab.archive.errors import ArchiveError
from lab.archive.seal import seal_part
from lab.archive.tables import ARCHIVE_VERSION, connect, parts
from lab.files import write_json

Moment = float | datetime  # seconds since the epoch, or a datetime with a time zone


def seconds(moment: Moment) -> float:
    """Seconds since the epoch. Raises ArchiveError for a datetime without a time zone."""
    if not isinstance(moment, datetime):
        return float(moment)
    if moment.tzinfo is None:
        raise ArchiveError(f"{moment} has no time zone: use e.g. datetime.now(timezone.utc)")
    return moment.timestamp()


def window(start: Moment, end: Moment) -> tuple[float, float]:
    """(start, end) in seconds. Raises ArchiveError if the end is not after the start."""
    start_s, end_s = seconds(start), seconds(end)
    if not start_s < end_s:
        raise ArchiveError(f"the window is empty: it starts at {start} and ends at {end}")
    return start_s, end_s


def base_url(url: str) -> str:
    """The server's URL without a trailing slash. Raises ArchiveError if it is not an HTTP URL."""
    given = urllib.parse.urlsplit(url)
    if given.scheme not in ("http", "https") or not given.netloc:
        raise ArchiveError(f"{url!r} is no address: use one like http://127.0.0.1:9090")
    return url.rstrip("/")


def write_run(
    table: str, lines: Iterable[bytes], source: str, span_s: tuple[float, float], into: Path | None
) -> Path:
    """Write rows (JSON lines) as `table` into `into`, or into a new temporary directory.

    Returns the directory. Raises ArchiveError if `into` already has that table.
    """
    run_dir = Path(tempfile.mkdtemp(prefix="breakwater-run-")) if into is None else into
    run_dir.mkdir(parents=True, exist_ok=True)
    if parts(run_dir, table):
        raise ArchiveError(f"{run_dir} has {table} already: use another directory")
    part = run_dir / f"{table}.ndjson"
    try:
        with part.open("wb") as file:
            file.writelines(lines)
    except BaseException:
        part.unlink()
        raise
    with connect(threads=2) as connection:
        seal_part(connection, part)
    info = run_dir / "run.json"
    if not info.exists():
        content = {"archive_version": ARCHIVE_VERSION, "run_id": run_dir.name, "source": source}
        write_json(info, content | {"started_s": span_s[0], "ended_s": span_s[1]})
    return run_dir

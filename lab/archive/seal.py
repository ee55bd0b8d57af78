"""Converts the NDJSON tables of a finished run to typed Parquet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lab.archive.errors import ArchiveError
from lab.archive.tables import (
    TABLES,
    connect,
    empty_table,
    merged_faults,
    parts,
    read_table,
    table_of,
    whole_lines,
)

ROW_GROUP_ROWS = 20_480  # a row group is held in memory until it is written


@dataclass(frozen=True)
class Sealed:
    """Rows of each table, and damaged lines of each table that had any."""

    rows: dict[str, int]
    damaged: dict[str, int]


def seal(run_dir: Path | str) -> Sealed:
    """Write each table as Parquet, then remove its NDJSON.

    A table without a file becomes an empty Parquet with the table's columns. Files are written
    atomically, so an interrupted call can be repeated. Raises ArchiveError if the directory is
    missing or a file cannot be written.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise ArchiveError(f"there is no run {run_dir}: `lab runs` lists all runs")
    rows: dict[str, int] = {}
    damaged: dict[str, int] = {}
    for unfinished in run_dir.glob("*.[0-9]*.tmp"):
        unfinished.unlink()
    with connect(threads=2) as connection:
        for table in TABLES:
            try:
                for part in parts(run_dir, table):
                    if part.suffix == ".ndjson" and (lines := seal_part(connection, part)):
                        damaged[table] = damaged.get(table, 0) + lines
                for segment in run_dir.glob(f"{table}.*.ndjson"):
                    segment.unlink()  # its Parquet is complete
                if not (run_dir / f"{table}.parquet").is_file():
                    _write(empty_table(connection, table), run_dir / f"{table}.parquet")
                rows[table] = len(read_table(connection, run_dir, table))
            except (OSError, duckdb.Error) as error:
                raise ArchiveError(f"cannot seal {table} of {run_dir}: {error}") from error
    return Sealed(rows, damaged)


def seal_part(connection: duckdb.DuckDBPyConnection, part: Path, *, keep: bool = False) -> int:
    """Convert one NDJSON file to a Parquet of the same stem and remove it, unless `keep`.

    Returns the number of damaged lines. If it raises OSError or duckdb.Error, the NDJSON is
    unchanged.
    """
    table = table_of(part)
    rows = whole_lines(connection, [part], table)
    sealed = part.with_suffix(".parquet")
    if table == "faults":
        whole = len(rows)
        _write(merged_faults(rows), sealed)
    else:
        _write(rows, sealed)
        whole = len(connection.read_parquet(str(sealed)))  # read from the file's footer
    damaged = _lines(part) - whole
    if not keep:
        part.unlink()
    return damaged


def _lines(part: Path) -> int:
    with part.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _write(rows: duckdb.DuckDBPyRelation, path: Path) -> None:
    unfinished = path.with_suffix(
        f".{os.getpid()}.tmp"
    )  # a compaction of a killed recorder may still run
    try:
        rows.write_parquet(str(unfinished), compression="zstd", row_group_size=ROW_GROUP_ROWS)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)

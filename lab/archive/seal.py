"""Turns the raw NDJSON tables of a finished run into typed Parquet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

ROW_GROUP_ROWS = 20_480  # of columns that are held in memory until they are written


@dataclass(frozen=True)
class Sealed:
    """Rows by table, and damaged lines by table (only tables that had any)."""

    rows: dict[str, int]
    damaged: dict[str, int]


def seal(run_dir: Path | str) -> Sealed:
    """Write every table as Parquet, then remove its NDJSON; may be repeated at any time.

    A table nobody wrote becomes an empty typed Parquet. Each file appears whole or not at all: cut
    short, it is simply done again. Raises ArchiveError if the directory is missing or the disk
    refuses.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise ArchiveError(f"there is no run {run_dir}: `lab runs` lists those there are")
    rows: dict[str, int] = {}
    damaged: dict[str, int] = {}
    for left_over in run_dir.glob("*.[0-9]*.tmp"):
        left_over.unlink()
    with connect(threads=2) as connection:
        for table in TABLES:
            try:
                for part in parts(run_dir, table):
                    if part.suffix == ".ndjson" and (torn := seal_part(connection, part)):
                        damaged[table] = damaged.get(table, 0) + torn
                if not (run_dir / f"{table}.parquet").is_file():
                    _write(empty_table(connection, table), run_dir / f"{table}.parquet")
                rows[table] = len(read_table(connection, run_dir, table))
            except (OSError, duckdb.Error) as error:
                raise ArchiveError(f"cannot seal {table} of {run_dir}: {error}") from error
    return Sealed(rows, damaged)


def seal_part(connection: duckdb.DuckDBPyConnection, part: Path) -> int:
    """One NDJSON file to the Parquet of the same stem, then removed; the number of damaged lines.

    Raises OSError or duckdb.Error, and then the NDJSON is as it was.
    """
    table = table_of(part)
    rows = whole_lines(connection, [part], table)
    sealed = part.with_suffix(".parquet")
    if table == "faults":
        whole = len(rows)
        _write(merged_faults(rows), sealed)
    else:
        _write(rows, sealed)
        whole = len(connection.read_parquet(str(sealed)))  # its footer says so
    damaged = _lines(part) - whole
    part.unlink()
    return damaged


def _lines(part: Path) -> int:
    with part.open("rb") as file:
        return sum(1 for line in file if line.strip())


def replace_table(run_dir: Path | str, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Put `rows` (each may lack columns) in the place of a sealed table."""
    columns = TABLES[table]
    with connect(threads=1) as connection:
        empty_table(connection, table).create(f"new_{table}")
        marks = ", ".join("?" * len(columns))
        for row in rows:
            values = [row.get(name) for name in columns]
            connection.execute(f"INSERT INTO new_{table} VALUES ({marks})", values)  # noqa: S608
        _write(connection.table(f"new_{table}"), Path(run_dir) / f"{table}.parquet")


def _write(rows: duckdb.DuckDBPyRelation, path: Path) -> None:
    half = path.with_suffix(f".{os.getpid()}.tmp")  # a killed recorder's last compaction may go on
    try:
        rows.write_parquet(str(half), compression="zstd", row_group_size=ROW_GROUP_ROWS)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)

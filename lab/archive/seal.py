"""Turns the raw NDJSON tables of a finished run into typed Parquet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from lab.archive.run import ArchiveError
from lab.archive.tables import ANCHOR, TABLES, empty_table, read_raw, read_table


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
    with duckdb.connect(config={"threads": 2}) as connection:
        for table in TABLES:
            raw = run_dir / f"{table}.ndjson"
            sealed = run_dir / f"{table}.parquet"
            try:
                if raw.is_file():
                    if torn := _damaged(connection, raw, table):
                        damaged[table] = torn
                    _write(read_table(connection, run_dir, table), sealed)
                    raw.unlink()
                elif not sealed.is_file():
                    _write(empty_table(connection, table), sealed)
                rows[table] = len(connection.read_parquet(str(sealed)))
            except (OSError, duckdb.Error) as error:
                raise ArchiveError(f"cannot seal {table} of {run_dir}: {error}") from error
    return Sealed(rows, damaged)


def replace_table(run_dir: Path | str, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Put `rows` (each may lack columns) in the place of a sealed table."""
    columns = TABLES[table]
    with duckdb.connect(config={"threads": 1}) as connection:
        empty_table(connection, table).create(f"new_{table}")
        marks = ", ".join("?" * len(columns))
        for row in rows:
            values = [row.get(name) for name in columns]
            connection.execute(f"INSERT INTO new_{table} VALUES ({marks})", values)  # noqa: S608
        _write(connection.table(f"new_{table}"), Path(run_dir) / f"{table}.parquet")


def _write(rows: duckdb.DuckDBPyRelation, path: Path) -> None:
    half = path.with_suffix(".tmp")
    try:
        rows.write_parquet(str(half), compression="zstd")
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def _damaged(connection: duckdb.DuckDBPyConnection, raw: Path, table: str) -> int:
    lines = read_raw(connection, raw, table).filter(f"{ANCHOR[table]} IS NULL")
    return len(lines)

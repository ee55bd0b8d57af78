"""The columns of an archive's tables (docs/archive.md in code) and how a table is read."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

# 2: spans have `events`; a table may lie in numbered parts. Version 1 is read as well.
ARCHIVE_VERSION = 2

TEXT, REAL, WHOLE, SMALL, FLAG = "VARCHAR", "DOUBLE", "BIGINT", "INTEGER", "BOOLEAN"

TABLES: dict[str, dict[str, str]] = {
    "requests": {
        **{"seq": WHOLE, "arm": TEXT, "session": TEXT, "route": TEXT, "method": TEXT},
        **{"logical_id": TEXT, "attempt_no": SMALL},
        **{"intended_start_s": REAL, "actual_start_s": REAL, "end_s": REAL},
        **{"status": SMALL, "outcome": TEXT, "error": TEXT, "request_id": TEXT},
        **{"idempotency_key": TEXT, "order_id": TEXT},
        **{"bytes": WHOLE, "version": WHOLE, "dropped": FLAG},
    },
    "spans": {
        **{"trace_id": TEXT, "span_id": TEXT, "parent_span_id": TEXT},
        **{"service": TEXT, "instance": TEXT, "arm": TEXT, "name": TEXT, "kind": TEXT},
        **{"start_ns": WHOLE, "end_ns": WHOLE, "status": TEXT},
        **{"http_method": TEXT, "http_route": TEXT, "http_status": SMALL},
        **{"peer": TEXT, "attempt": SMALL, "attributes": TEXT, "events": TEXT},
    },
    "logs": {
        **{"time_s": REAL, "level": TEXT, "service": TEXT, "instance": TEXT, "message": TEXT},
        **{"trace_id": TEXT, "span_id": TEXT, "attributes": TEXT},
    },
    "metrics": {
        **{"time_s": REAL, "service": TEXT, "instance": TEXT},
        **{"name": TEXT, "labels": TEXT, "value": REAL},
    },
    "breakers": {
        **{"time_s": REAL, "service": TEXT, "instance": TEXT, "edge": TEXT, "policy": TEXT},
        **{"kind": TEXT, "state": TEXT, "previous": TEXT, "reason": TEXT},
        **{"n": WHOLE, "failures": WHOLE, "slow": WHOLE, "details": TEXT},
    },
    "faults": {
        **{"fault_id": TEXT, "kind": TEXT, "target": TEXT, "point": TEXT, "scope": TEXT},
        **{"attributes": TEXT, "seed": WHOLE, "ttl_s": REAL},
        **{"commanded_s": REAL, "effective_s": REAL, "removed_s": REAL},
        **{"hits": WHOLE, "status": TEXT, "evidence": TEXT},
    },
    "history": {
        **{"process": TEXT, "type": TEXT, "f": TEXT, "key": TEXT, "value": TEXT},
        **{"time_s": REAL, "error": TEXT},
    },
}

# Never null in a whole row: a torn or damaged line reads as a row of nulls and is left out by it.
ANCHOR = {
    **{"requests": "route", "spans": "trace_id", "logs": "time_s", "metrics": "name"},
    **{"breakers": "time_s", "faults": "fault_id", "history": "f"},
}

# A fault is told in parts (commanded, effective, removed), one line each: the parts make its row.
_MERGE_FAULTS = """
    fault_id, any_value(kind) AS kind, string_agg(DISTINCT target, ', ') AS target,
    any_value(point) AS point, any_value(scope) AS scope, any_value(attributes) AS attributes,
    any_value(seed) AS seed, any_value(ttl_s) AS ttl_s,
    min(commanded_s) AS commanded_s, min(effective_s) AS effective_s, max(removed_s) AS removed_s,
    max(hits) AS hits, any_value(status) AS status, any_value(evidence) AS evidence
"""


def connect(**config: str | int) -> duckdb.DuckDBPyConnection:
    """A private database in memory; what it does shows no progress bar on other people's screens."""
    connection = duckdb.connect(config=dict(config))
    connection.execute("SET enable_progress_bar = false")
    return connection


def table_of(part: Path) -> str:
    """The table that a part belongs to: `spans` of `spans.000003.ndjson`."""
    return part.name.partition(".")[0]


def parts(run_dir: Path, table: str) -> list[Path]:
    """The table's files in the order they were written, NDJSON or Parquet.

    `spans.000001.parquet`, `spans.000002.ndjson`, `spans.ndjson`: numbered are the segments that a
    long recording put aside. Of one part in both forms the NDJSON counts: the Parquet is only ever
    made from the whole of it, so both together mean that sealing was cut short.
    """
    named = re.compile(rf"{table}(\.\d+)?\.(ndjson|parquet)")
    found: dict[str, Path] = {}
    for path in run_dir.iterdir():
        name = named.fullmatch(path.name)
        if name and (path.stem not in found or name[2] == "ndjson"):
            found[path.stem] = path
    return [found[stem] for stem in sorted(found, key=lambda stem: (stem == table, stem))]


def read_table(
    connection: duckdb.DuckDBPyConnection, run_dir: Path, table: str
) -> duckdb.DuckDBPyRelation:
    """The table as a lazy relation with its documented columns; empty if no file is there.

    Raises duckdb.Error on garbage.
    """
    files = parts(run_dir, table)
    raw = [file for file in files if file.suffix == ".ndjson"]
    sealed = [file for file in files if file.suffix == ".parquet"]
    if not files:
        rows = empty_table(connection, table)
    elif not raw:
        rows = _sealed(connection, sealed, table)
    elif not sealed:
        rows = whole_lines(connection, raw, table)
    else:
        columns = ", ".join(f'"{name}"' for name in TABLES[table])
        first = _sealed(connection, sealed, table).project(columns)
        rows = first.union(whole_lines(connection, raw, table))
    return merged_faults(rows) if table == "faults" else rows


def merged_faults(parts_of_rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """One row a fault_id."""
    return parts_of_rows.aggregate(_MERGE_FAULTS, "fault_id")


def whole_lines(
    connection: duckdb.DuckDBPyConnection, raw: list[Path], table: str
) -> duckdb.DuckDBPyRelation:
    """The undamaged lines of NDJSON files."""
    return read_raw(connection, raw, table).filter(f"{ANCHOR[table]} IS NOT NULL")


def read_raw(
    connection: duckdb.DuckDBPyConnection, raw: list[Path], table: str
) -> duckdb.DuckDBPyRelation:
    """Every line of NDJSON files; a damaged line is a row of nulls."""
    return connection.read_json(
        [str(file) for file in raw],  # type: ignore[arg-type] # it takes a list; its stub does not
        format="newline_delimited",
        columns=TABLES[table],
        ignore_errors=True,
    )


def empty_table(connection: duckdb.DuckDBPyConnection, table: str) -> duckdb.DuckDBPyRelation:
    """No rows, but the table's columns and types."""
    columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in TABLES[table].items())
    return connection.sql("SELECT 1").project(columns).filter("false")


def _sealed(
    connection: duckdb.DuckDBPyConnection, sealed: list[Path], table: str
) -> duckdb.DuckDBPyRelation:
    """An archive of another version may lack a column (it reads as null) or have one more."""
    files = [str(file) for file in sealed]
    rows = connection.read_parquet(files, union_by_name=True)
    lacking = [
        f'NULL::{kind} AS "{name}"'
        for name, kind in TABLES[table].items()
        if name not in rows.columns
    ]
    return rows.project(", ".join(["*", *lacking]))

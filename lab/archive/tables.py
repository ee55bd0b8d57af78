"""The columns of an archive's tables, as in docs/archive.md, and functions to read a table."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

# Version 2: spans have `events`, and a table may have numbered parts. Version 3: manifest.json, the table
# `machine`, exit codes and the load's own count of rows. Versions 1 and 2 can be read, but not judged as whole.
ARCHIVE_VERSION = 3


def _columns(definition: str) -> dict[str, str]:
    """Name and DuckDB type of each column of a comma-separated list."""
    return dict((name, kind) for name, kind in map(str.split, definition.split(",")))


TABLES: dict[str, dict[str, str]] = {
    "requests": _columns("""
        seq BIGINT, arm VARCHAR, session VARCHAR, route VARCHAR, method VARCHAR,
        logical_id VARCHAR, attempt_no INTEGER,
        intended_start_s DOUBLE, actual_start_s DOUBLE, end_s DOUBLE,
        status INTEGER, outcome VARCHAR, error VARCHAR, request_id VARCHAR,
        idempotency_key VARCHAR, order_id VARCHAR,
        bytes BIGINT, version BIGINT, dropped BOOLEAN,
        expected INTEGER, asked VARCHAR, seen VARCHAR
    """),
    "spans": _columns("""
        seq BIGINT, trace_id VARCHAR, span_id VARCHAR, parent_span_id VARCHAR,
        service VARCHAR, instance VARCHAR, arm VARCHAR, name VARCHAR, kind VARCHAR,
        start_ns BIGINT, end_ns BIGINT, status VARCHAR,
        http_method VARCHAR, http_route VARCHAR, http_status INTEGER,
        peer VARCHAR, attempt INTEGER, attributes VARCHAR, events VARCHAR
    """),
    "logs": _columns("""
        seq BIGINT, time_s DOUBLE, level VARCHAR, service VARCHAR, instance VARCHAR, message VARCHAR,
        trace_id VARCHAR, span_id VARCHAR, attributes VARCHAR
    """),
    "metrics": _columns("""
        seq BIGINT, time_s DOUBLE, service VARCHAR, instance VARCHAR,
        name VARCHAR, labels VARCHAR, value DOUBLE
    """),
    "breakers": _columns("""
        seq BIGINT, time_s DOUBLE, service VARCHAR, instance VARCHAR, edge VARCHAR, policy VARCHAR,
        kind VARCHAR, state VARCHAR, previous VARCHAR, reason VARCHAR,
        n BIGINT, failures BIGINT, slow BIGINT, details VARCHAR
    """),
    "faults": _columns("""
        fault_id VARCHAR, kind VARCHAR, target VARCHAR, point VARCHAR, scope VARCHAR,
        attributes VARCHAR, seed BIGINT, ttl_s DOUBLE,
        commanded_s DOUBLE, effective_s DOUBLE, removed_s DOUBLE,
        hits BIGINT, evidence VARCHAR
    """),
    "history": _columns("""
        seq BIGINT, process VARCHAR, type VARCHAR, f VARCHAR, key VARCHAR, value VARCHAR,
        time_s DOUBLE, error VARCHAR
    """),
    "machine": _columns("""
        time_s DOUBLE, interval_s DOUBLE, late_s DOUBLE, clock_step_s DOUBLE,
        cpu_user DOUBLE, cpu_system DOUBLE, cpu_iowait DOUBLE, cpu_irq DOUBLE,
        cpu_steal DOUBLE, cpu_idle DOUBLE, cpu_lab DOUBLE, busiest_other VARCHAR, runnable BIGINT, waiting DOUBLE,
        memory_available_bytes BIGINT
    """),
}

# The audit tables of a complete archive: the queries in each service's audit.sql, and the received mails.
AUDIT_TABLES = (
    *("bank.authorizations", "bank.ledger", "inventory.reservations", "inventory.stock"),
    *("mail.messages", "notifications.inbox", "notifications.mails"),
    *("orders.lines", "orders.orders", "orders.outbox", "orders.saga_log", "orders.sagas"),
    *("payments.operations", "payments.payments", "products.products"),
    *("users.outbox", "users.users"),
)

# A column that is never null in a valid row. DuckDB reads a damaged line as a row of nulls; this finds it.
NOT_NULL = {
    "requests": "route", "spans": "trace_id", "logs": "time_s", "metrics": "name",
    "breakers": "time_s", "faults": "fault_id", "history": "f", "machine": "time_s",
}  # fmt: skip

# A fault is written in parts, one line each (commanded, effective, removed). This merges them to one row.
_MERGE_FAULTS = """
    fault_id, any_value(kind) AS kind, string_agg(DISTINCT target, ', ') AS target,
    any_value(point) AS point, any_value(scope) AS scope, any_value(attributes) AS attributes,
    any_value(seed) AS seed, any_value(ttl_s) AS ttl_s,
    min(commanded_s) AS commanded_s, min(effective_s) AS effective_s, max(removed_s) AS removed_s,
    max(hits) AS hits, any_value(evidence) AS evidence
"""


def connect(**config: str | int) -> duckdb.DuckDBPyConnection:
    """A private database in memory. It prints no progress bar."""
    connection = duckdb.connect(config=dict(config))
    connection.execute("SET enable_progress_bar = false")
    return connection


def table_of(part: Path) -> str:
    """The table that a part belongs to: `spans` of `spans.000003.ndjson`."""
    return part.name.partition(".")[0]


def parts(run_dir: Path, table: str) -> list[Path]:
    """The table's files, NDJSON or Parquet, in the order they were written.

    E.g. `spans.000001.parquet`, `spans.000002.ndjson`, `spans.ndjson`: the numbered files are the
    full segments of a long recording. A segment that exists in both forms is complete as Parquet. If
    the last part does, sealing was interrupted and the NDJSON is used.
    """
    named = re.compile(rf"{table}(\.\d+)?\.(ndjson|parquet)")
    found: dict[str, Path] = {}
    for path in run_dir.iterdir():
        name = named.fullmatch(path.name)
        if name and (path.stem not in found or name[2] == ("parquet" if name[1] else "ndjson")):
            found[path.stem] = path
    return [found[stem] for stem in sorted(found, key=lambda stem: (stem == table, stem))]


def read_table(
    connection: duckdb.DuckDBPyConnection, run_dir: Path, table: str
) -> duckdb.DuckDBPyRelation:
    """The table as a lazy relation with its documented columns; empty if it has no file.

    Raises duckdb.Error if a file is damaged.
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


def missing_columns(run_dir: Path, table: str) -> list[str]:
    """The documented columns that a sealed table lacks; reading it fills them with nulls."""
    files = [str(file) for file in parts(run_dir, table) if file.suffix == ".parquet"]
    if not files:
        return []
    with connect(threads=1) as connection:
        present = connection.read_parquet(files, union_by_name=True).columns
    return [name for name in TABLES[table] if name not in present]


def merged_faults(parts_of_rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """One row for each fault_id."""
    return parts_of_rows.aggregate(_MERGE_FAULTS, "fault_id")


def whole_lines(
    connection: duckdb.DuckDBPyConnection, raw: list[Path], table: str
) -> duckdb.DuckDBPyRelation:
    """The undamaged lines of NDJSON files."""
    rows = connection.read_json(
        [str(file) for file in raw],  # type: ignore[arg-type] # a list is allowed, the stub is wrong
        format="newline_delimited",
        columns=TABLES[table],
        ignore_errors=True,
    )
    return rows.filter(f"{NOT_NULL[table]} IS NOT NULL")


def empty_table(connection: duckdb.DuckDBPyConnection, table: str) -> duckdb.DuckDBPyRelation:
    """A relation without rows that has the table's columns and types."""
    columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in TABLES[table].items())
    return connection.sql("SELECT 1").project(columns).filter("false")


def _sealed(
    connection: duckdb.DuckDBPyConnection, sealed: list[Path], table: str
) -> duckdb.DuckDBPyRelation:
    """The Parquet files as a relation. A column that they lack is null; an additional one is kept."""
    files = [str(file) for file in sealed]
    rows = connection.read_parquet(files, union_by_name=True)
    missing = [
        f'NULL::{kind} AS "{name}"'
        for name, kind in TABLES[table].items()
        if name not in rows.columns
    ]
    return rows.project(", ".join(["*", *missing]))

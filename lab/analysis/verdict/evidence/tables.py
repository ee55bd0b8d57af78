"""The tables: they are there, with their columns, with as many rows as their writers counted, numbered."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from lab.analysis.verdict.claim import Claim
from lab.analysis.verdict.evidence.shapes import mapping, unsteady
from lab.archive import AUDIT_TABLES, Run
from lab.archive.manifest import audit_record
from lab.archive.tables import TABLES, missing_columns, parts
from lab.recorder.names import NUMBERED, ROWS_TOTAL

# Columns without a null in any row, and columns with a value in some row of every whole run.
NEVER_NULL = {
    "requests": "seq arm session route method logical_id attempt_no intended_start_s status outcome dropped",
    "spans": "seq trace_id span_id service instance arm name kind start_ns end_ns status",
    "logs": "seq time_s level service instance message attributes",
    "metrics": "seq time_s service instance name labels",
    "breakers": "seq time_s service instance edge policy kind state",
    "faults": "fault_id kind target point commanded_s",
    "history": "seq process type f key value time_s",
    "machine": "time_s",  # lab.analysis.machine checks the rest
}
SOMEWHERE = {
    "requests": "actual_start_s end_s request_id bytes",
    "spans": "parent_span_id http_route http_status attributes",
    "logs": "trace_id",
    "metrics": "value",
    "breakers": "n failures slow previous reason",
    "faults": "effective_s hits",
}
LOAD_TABLES = ("requests", "history")


def present(run: Run, claim: Claim) -> Iterator[str]:
    for table in TABLES:
        if not parts(run.path, table):
            yield f"{table}.parquet is missing"
        elif not len(run.table(table)) and _needed(run, claim, table):
            yield f"{table}.parquet is empty"


def _needed(run: Run, claim: Claim, table: str) -> bool:
    if table == "faults":
        return bool(claim.actions) and not unsteady(run)
    if table == "history":  # a load may have no operation on an order; `agreement.history` compares
        return False
    return table != "breakers" or bool(run.info.get("breakers"))


def columns(run: Run, claim: Claim) -> Iterator[str]:
    for table in TABLES:
        if lacking := missing_columns(run.path, table):
            yield f"{table}.parquet: without the columns {', '.join(lacking)}"
        rows = len(run.table(table))
        never, somewhere = NEVER_NULL.get(table, "").split(), SOMEWHERE.get(table, "").split()
        if not rows or not never:
            continue
        aggregates = ", ".join(f"count({name})" for name in (*never, *somewhere))
        found = run.table(table).aggregate(aggregates).fetchall()[0]
        for name, count in zip((*never, *somewhere), found, strict=True):
            if count == 0 or (name in never and count < rows):
                yield f"{table}.parquet: {rows - count:,} of {rows:,} rows have no {name}"


def counts(run: Run, claim: Claim) -> Iterator[str]:
    """The writers' own counts against the stored rows; `faults` has several writers and merged rows.

    The recorder counts twice: in recorder.json, and in the last rows of metrics.
    """
    last = dict(
        run.sql(
            "SELECT labels ->> '$.table', max(value)::BIGINT FROM metrics WHERE name = ? GROUP BY 1",
            [ROWS_TOTAL],
        ).fetchall()
    )
    for source, counted, names in (
        ("recorder.json", mapping(run.recorder).get("rows"), NUMBERED),
        (f"metrics.parquet: {ROWS_TOTAL}", last, NUMBERED),
        (
            "run.json: machine",
            {"machine": mapping(run.info.get("machine")).get("samples")},
            ["machine"],
        ),
        ("run.json: load", mapping(run.info.get("load")).get("rows"), LOAD_TABLES),
    ):
        for table in names:
            count = mapping(counted).get(table)
            if (rows := len(run.table(table))) != count:
                yield f"{source} counts {count} rows of {table}, the archive has {rows:,}"


def numbers(run: Run, claim: Claim) -> Iterator[str]:
    """Each writer numbers its rows from 0: a removed or repeated row leaves a gap."""
    for table in (*LOAD_TABLES, *NUMBERED):
        rows, first, last, total = (
            run.table(table)
            .aggregate("count(*), min(seq), max(seq), sum(seq)::HUGEINT")
            .fetchall()[0]
        )
        if rows and (first, last, total) != (0, rows - 1, rows * (rows - 1) // 2):
            yield f"{table}.parquet: {rows:,} rows, but they are numbered {first} to {last}"


def audit(run: Run, claim: Claim) -> Iterator[str]:
    """Each audit table is there, as the audit wrote it."""
    written = mapping(run.info.get("audit"))
    try:
        found = audit_record(run.path)
    except duckdb.Error as error:
        yield f"state/ has a damaged table: {str(error).splitlines()[0]}"
        return
    for table in sorted({*AUDIT_TABLES, *written, *found}):
        then, now = mapping(written.get(table)), found.get(table)
        if now is None:
            yield f"state/{table}.parquet is missing"
        elif now["rows"] != then.get("rows"):
            yield f"run.json: audit counts {then.get('rows')} rows of {table}, the archive has {now['rows']:,}"
        elif now != then:
            yield f"state/{table}.parquet was changed after the audit"

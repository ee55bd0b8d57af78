"""Turns a log line of a service into the rows of a table."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeGuard

from chassis.fault_record import COLUMNS
from lab.json_text import parse

# The columns of each table (docs/archive.md); all other fields of a line go into its JSON column.
LOG_FIELDS = ("time", "level", "service", "instance", "message", "trace_id", "span_id")
RAW = "raw"  # the level of a line that has none: a traceback, or a server's own format
LATEST_S = 1e11  # the year 5138: a number beyond is not finite, or has another unit
BREAKER_FIELDS = (
    *("service", "instance", "edge", "policy", "kind", "state", "previous", "reason"),
    *("n", "failures", "slow"),
)
EVALUATION_FIELDS = ("time", "edge", "policy", "state", "n", "failures", "slow")
# an injector's evidence is complete only in its history, which is written when the run ends
FAULT_FIELDS = tuple(name for name in COLUMNS if name != "evidence")
PHASE_COLUMN = {
    "commanded": "commanded_s",
    "effective": "effective_s",
    "removed": "removed_s",
    "expired": "removed_s",
}


def rows_of_line(line: bytes, instance: str, now_s: float) -> tuple[str, bytes, int]:
    """Returns (table, rows as JSON lines, number of rows) for a raw line of `instance`'s log, read at `now_s`."""
    try:
        record = parse(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        # a traceback, or a server's own format: keep the text under the instance of the file
        record = {"message": line.decode("utf-8", "replace")}
    record.setdefault("instance", instance)
    return rows_of_record(record, now_s)


def rows_of_record(record: dict[str, Any], now_s: float) -> tuple[str, bytes, int]:
    """The same for a record that a log forwarder has already parsed."""
    instance = str(record.setdefault("instance", ""))
    record.setdefault("service", instance.rpartition("-")[0] or instance)
    known_s = _seconds(record.get("time"))
    time_s = now_s if known_s is None else known_s
    event = record.get("event")
    if event == "breaker":
        return "breakers", _dump(_breaker(record, time_s)), 1
    if event == "evaluations" and (evaluations := _evaluations(record)):
        rows = [_dump(_breaker(each, each["time"])) for each in evaluations]
        return "breakers", b"".join(rows), len(rows)
    if event == "fault" and record.get("fault_id"):
        return "faults", _dump(_fault(record, time_s)), 1
    row = _log(record, time_s)
    if known_s is None and record.get("time") is not None:
        row["attributes"]["time"] = record["time"]  # not understood: keep it
    return "logs", _dump(row), 1


def read_records(body: bytes) -> list[dict[str, Any]]:
    """Reads a log forwarder's request: JSON lines, or one array of objects.

    Raises ValueError if a record is not a JSON object.
    """
    if body.lstrip()[:1] == b"[":
        records = parse(body)
    else:
        records = [parse(line) for line in body.splitlines() if line.strip()]
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("every record must be a JSON object")
    return list(records)


def _log(record: dict[str, Any], time_s: float) -> dict[str, Any]:
    row: dict[str, Any] = {"time_s": time_s}
    row |= {name: _string(record.get(name)) for name in LOG_FIELDS[1:]}
    row["level"] = row["level"] or RAW
    for name in ("trace_id", "span_id"):
        row[name] = row[name] and row[name].lower()  # as in the spans
    row["attributes"] = {k: v for k, v in record.items() if k not in LOG_FIELDS}
    return row


def _breaker(record: dict[str, Any], time_s: float) -> dict[str, Any]:
    row: dict[str, Any] = {"time_s": time_s}
    row |= {name: record.get(name) for name in BREAKER_FIELDS}
    known = {"time", "event", "level", "message", *BREAKER_FIELDS}
    row["details"] = {k: v for k, v in record.items() if k not in known and v not in ("", None)}
    return row


def _evaluations(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Expands a line with many evaluations into one record each; [] if the line is malformed."""
    whole = {name: value for name, value in record.items() if name != "rows"}
    whole |= {"kind": "evaluation", "previous": "", "reason": ""}
    rows = record.get("rows")
    if not isinstance(rows, list):
        return []
    each = [
        whole | dict(zip(EVALUATION_FIELDS, row, strict=True))
        for row in rows
        if isinstance(row, list) and len(row) == len(EVALUATION_FIELDS) and _is_time(row[0])
    ]
    return each if len(each) == len(rows) else []


def _fault(record: dict[str, Any], time_s: float) -> dict[str, Any]:
    """One part of a fault's row: the archive's reader merges the rows with one fault_id."""
    row = {name: record[name] for name in FAULT_FIELDS if record.get(name) is not None}
    row.setdefault("target", record["instance"])
    column = PHASE_COLUMN.get(str(record.get("phase", "")))
    if column:
        row.setdefault(column, time_s)
    return row


def _seconds(value: object) -> float | None:
    """The time of a record in epoch seconds: a number, also as text, or an ISO 8601 time with its zone."""
    if isinstance(value, str):
        value = _read_time(value)
    return value if _is_time(value) else None


def _read_time(text: str) -> float | None:
    with suppress(ValueError):
        return float(text)
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo else None
    return None


def _is_time(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LATEST_S


def _string(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _dump(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"

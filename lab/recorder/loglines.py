"""One line a service wrote to its log: which table it belongs to, and the row it becomes."""

from __future__ import annotations

import json
from typing import Any

# The columns of each table as docs/archive.md has them; the rest of a line goes into its JSON.
LOG_FIELDS = ("time", "level", "service", "instance", "message", "trace_id", "span_id")
BREAKER_FIELDS = (
    *("service", "instance", "edge", "policy", "kind", "state", "previous", "reason"),
    *("n", "failures", "slow"),
)
FAULT_FIELDS = (
    *("fault_id", "kind", "target", "point", "scope", "attributes", "seed", "ttl_s", "hits"),
)
PHASE_COLUMN = {
    "commanded": "commanded_s",
    "effective": "effective_s",
    "removed": "removed_s",
    "expired": "removed_s",
}


def row_of(line: bytes, instance: str, now_s: float) -> tuple[str, bytes]:
    """(table, the row as one JSON line) of a raw log line of `instance`'s file, read at `now_s`."""
    text = line.decode("utf-8", "replace")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        # A traceback, a server's own format: keep the words, the file says who spoke.
        record = {"message": text}
    record.setdefault("instance", instance)
    record.setdefault("service", instance.rpartition("-")[0] or instance)
    time_s = record.get("time")
    if isinstance(time_s, bool) or not isinstance(time_s, int | float):
        time_s = now_s
    event = record.get("event")
    if event == "breaker":
        return "breakers", _dump(_breaker(record, time_s))
    if event == "fault" and record.get("fault_id"):
        return "faults", _dump(_fault(record, time_s))
    return "logs", _dump(_log(record, time_s))


def _log(record: dict[str, Any], time_s: float) -> dict[str, Any]:
    row: dict[str, Any] = {"time_s": time_s}
    row |= {name: _string(record.get(name)) for name in LOG_FIELDS[1:]}
    row["attributes"] = {k: v for k, v in record.items() if k not in LOG_FIELDS}
    return row


def _breaker(record: dict[str, Any], time_s: float) -> dict[str, Any]:
    row: dict[str, Any] = {"time_s": time_s}
    row |= {name: record.get(name) for name in BREAKER_FIELDS}
    known = {"time", "event", "level", "message", *BREAKER_FIELDS}
    row["details"] = {k: v for k, v in record.items() if k not in known and v not in ("", None)}
    return row


def _fault(record: dict[str, Any], time_s: float) -> dict[str, Any]:
    """A part of a fault's row: the rows with one fault_id are merged when the archive is read."""
    row = {name: record[name] for name in FAULT_FIELDS if record.get(name) is not None}
    row.setdefault("target", record["instance"])
    column = PHASE_COLUMN.get(str(record.get("phase", "")))
    if column:
        row[column] = time_s
    for column in ("commanded_s", "effective_s", "removed_s"):
        if record.get(column) is not None:
            row[column] = record[column]
    return row


def _string(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _dump(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"

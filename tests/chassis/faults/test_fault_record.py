"""The record of a fault: one form for services, supervisor and proxy, and a tolerant reader."""

import json
import math

from chassis.fault_record import COLUMNS, FaultRecord
from lab.archive.tables import TABLES

RECORD = FaultRecord(
    "f1", "latency", "orders-1", "inbound", {"share": 0.5}, {"latency_ms": 20}, 7, 30.0, 10.0, 10.5, 40.0, 3,
    {"seen": 6},
)  # fmt: skip


def test_its_fields_are_the_columns_of_the_archives_table() -> None:
    assert set(COLUMNS) == set(TABLES["faults"])


def test_a_row_is_read_back_as_it_was_also_with_json_text() -> None:
    assert FaultRecord.from_row(RECORD.to_row()) == RECORD
    texts = {name: json.dumps(value) for name, value in RECORD.to_row().items() if name == "scope"}
    assert FaultRecord.from_row(RECORD.to_row() | texts) == RECORD


def test_missing_and_damaged_columns_read_as_their_defaults() -> None:
    row = {"fault_id": "f1", "kind": None, "hits": None, "scope": "{", "evidence": "[1]", "more": 1}
    assert FaultRecord.from_row(row) == FaultRecord("f1", "", "", "")


def test_its_duration_is_unknown_until_it_is_removed() -> None:
    assert RECORD.lasted_s == 30.0
    assert math.isnan(FaultRecord("f1", "kill", "orders-1", "process", commanded_s=1.0).lasted_s)

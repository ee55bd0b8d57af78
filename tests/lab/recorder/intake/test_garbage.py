"""Invalid data: the recorder answers 400 and counts it, and every written row can be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lab.archive import Run
from lab.archive.tables import read_table
from lab.otlp.logs import records_from_json, records_from_protobuf
from lab.otlp.spans import lines_from_json, lines_from_protobuf
from lab.recorder.intake.log_lines import read_records, rows_of_line, rows_of_record
from tests.lab.recorder.recorder_process import RecorderProcess

GOOD: dict[str, Any] = {
    **{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"},
    **{"startTimeUnixNano": "1", "endTimeUnixNano": "2", "name": "x"},
}


def request_of(span: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("traceId", ""),
        ("traceId", "5b8e"),
        ("traceId", "0" * 32),
        ("traceId", "x" * 32),
        ("traceId", 7),
        ("spanId", "eee1"),
        ("spanId", None),
        ("parentSpanId", "00"),
        ("startTimeUnixNano", "yesterday"),
        ("startTimeUnixNano", -1),
        ("endTimeUnixNano", str(2**63)),
        ("endTimeUnixNano", []),
        ("kind", {}),
        ("status", 3),
        ("attributes", [7]),
        ("attributes", [{"key": "a", "value": {"intValue": "9" * 9999}}]),
        ("attributes", [{"key": "a", "value": {"arrayValue": 5}}]),
        ("events", [None]),
        ("name", 7),
        ("events", [{"timeUnixNano": str(2**64)}]),
    ],
)
def test_an_invalid_field_of_a_span_is_refused(field: str, value: Any) -> None:
    assert lines_from_json(request_of(GOOD))[1] == 1
    with pytest.raises(ValueError, match=r"no OTLP/JSON|hex digits|no time"):
        lines_from_json(request_of(GOOD | {field: value}))


def test_unusual_numbers_and_texts_are_kept_where_they_fit(tmp_path: Path) -> None:
    odd = GOOD | {
        "name": "half a pair \ud800",
        "kind": -3,
        "status": {"code": 99},
        "attributes": [
            {"key": "http.response.status_code", "value": {"intValue": str(10**12)}},
            {"key": "http.request.resend_count", "value": {"stringValue": "twice"}},
            {"key": "nul\x00", "value": {"doubleValue": float("inf")}},
        ],
    }
    (tmp_path / "spans.ndjson").write_bytes(lines_from_json(request_of(odd))[0])
    [row] = Run(tmp_path).frame("spans").to_dict("records")
    assert (row["name"], row["kind"], row["status"]) == ("half a pair ?", "internal", "unset")
    assert json.loads(row["attributes"]) == {
        **{"http.response.status_code": 10**12, "http.request.resend_count": "twice"},
        "nul\x00": "inf",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda some: st.lists(some, max_size=4) | st.dictionaries(st.text(), some, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from([*GOOD, "kind", "status", "attributes", "events", "parentSpanId"])


@given(
    st.lists(st.dictionaries(FIELDS, JSON, max_size=3).map(lambda odd: GOOD | odd), max_size=5),
    st.lists(st.dictionaries(st.sampled_from(["time", "event", "message", "n"]), JSON), max_size=5),
    st.lists(st.binary(max_size=60), max_size=5),
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_accepted_record_can_be_read_back(
    tmp_path: Path, spans: list[Any], records: list[Any], lines: list[bytes]
) -> None:
    written = {"spans": [b""], "logs": [b""], "breakers": [b""], "faults": [b""]}
    for span in spans:
        try:
            written["spans"].append(lines_from_json(request_of(span))[0])
        except ValueError:
            continue
    for record in records:
        body = json.dumps(record).encode()
        written["logs"] += [rows_of_record(read, 1.0)[1] for read in read_records(body)]
    for line in lines:
        table, row, _ = rows_of_line(line, "orders-1", 1.0)
        written[table].append(row)
    for table, rows in written.items():
        (tmp_path / f"{table}.ndjson").write_bytes(b"".join(rows))
    with duckdb.connect() as connection:
        read = {table: len(read_table(connection, tmp_path, table)) for table in written}
    assert read == {table: len(rows) - 1 for table, rows in written.items()}


ROW = [1.5, "payments->bank", "breaker", "closed", 10, 1, 0]


@pytest.mark.parametrize(
    "gathered",
    [
        *(None, [], {}, 7, "rows", [[]], [7], [ROW[:-1]], [[*ROW, 1]], [["soon", *ROW[1:]]]),
        *([[True, *ROW[1:]]], [[None, *ROW[1:]]], [ROW, "and another"]),
    ],
)
def test_malformed_evaluations_stay_a_log_line(gathered: Any) -> None:
    def rows_of(rows: Any) -> tuple[str, bytes, int]:
        record = {"event": "evaluations", "message": "evaluations", "rows": rows}
        return rows_of_line(json.dumps(record).encode(), "payments-1", 1.0)

    table, row, count = rows_of(gathered)
    assert (table, count) == ("logs", 1)
    assert json.loads(row)["attributes"]["rows"] == gathered
    assert (rows_of([ROW, ROW])[0], rows_of([ROW, ROW])[2]) == ("breakers", 2)


@pytest.mark.parametrize("odd", [10**30, -1, 1.5, "many", [], {}, None, True])
def test_an_unusual_number_in_an_evaluation_affects_no_other_row(tmp_path: Path, odd: Any) -> None:
    record = {"event": "evaluations", "rows": [ROW, [*ROW[:4], odd, odd, odd], ROW]}
    _, lines, count = rows_of_line(json.dumps(record).encode(), "payments-1", 1.0)
    (tmp_path / "breakers.ndjson").write_bytes(lines)
    assert len(Run(tmp_path).frame("breakers")) == count == 3


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_accepted_or_refused(body: bytes) -> None:
    readers: tuple[Callable[[bytes], object], ...] = (
        *(lines_from_protobuf, lines_from_json, records_from_protobuf, records_from_json),
        read_records,
    )
    for reader in readers:
        try:
            reader(body)
        except ValueError:
            continue


def test_a_refused_request_is_counted_and_the_next_is_accepted(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    recorder.start(tmp_path / "run")
    send = {"Content_Type": "application/json"}
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"short", span_id=b"x")
    protobuf = {"Content_Type": "application/x-protobuf"}
    bad = [
        recorder.call("POST", "/v1/traces", request_of(GOOD | {"traceId": "5b"}), **send),
        recorder.call("POST", "/v1/traces", request.SerializeToString(), **protobuf),
        recorder.call("POST", "/v1/traces", b"[" * 100_000, **send),
        recorder.call("POST", "/v1/logs", b'{"resourceLogs": 5}', **send),
        recorder.call("POST", "/logs", b"not JSON\n"),
        recorder.call("POST", "/logs", b"[7]"),
        recorder.call("POST", "/logs", b"xy", Content_Encoding="gzip"),
    ]
    assert [status for status, _ in bad] == [400] * 7
    assert all(answer["error"] for _, answer in bad)
    assert recorder.call("POST", "/v1/traces", request_of(GOOD), **send)[0] == 200
    counts = recorder.stop()
    assert counts["refused"] == {"traces": 3, "logs": 4}
    assert (counts["rows"]["spans"], counts["rows"]["logs"]) == (1, 0)

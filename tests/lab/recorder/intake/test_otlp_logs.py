"""Log records by HTTP, as Fluentd's http output sends them and as OTLP."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from lab.otlp.logs import records_from_json
from lab.otlp.values import OtlpError
from tests.lab.recorder.recorder_process import RecorderProcess, rows

LINE = {"time": 1.5, "level": "info", "service": "orders", "instance": "orders-1", "message": "hi"}
BREAKER = {
    **{"time": 2.5, "service": "payments", "instance": "payments-1", "event": "breaker"},
    **{"edge": "payments->bank", "policy": "breaker", "kind": "transition", "state": "open"},
}
FORMS: dict[str, tuple[bytes, str]] = {
    "json lines": (
        b"\n".join(json.dumps(each).encode() for each in (LINE, BREAKER)) + b"\n",
        "application/x-ndjson",
    ),
    "array": (json.dumps([LINE, BREAKER]).encode(), "application/json"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_log_forwarders_records_become_the_same_rows_as_log_lines(
    recorder: RecorderProcess, tmp_path: Path, form: str, compressed: bool
) -> None:
    body, kind = FORMS[form]
    head = {"Content_Type": kind}
    if compressed:
        body, head["Content_Encoding"] = gzip.compress(body), "gzip"
    assert recorder.call("POST", "/logs", body, **head)[0] == 200  # no recording: dropped
    recorder.start(tmp_path / "run")
    assert recorder.call("POST", "/logs", body, **head)[0] == 200
    recorder.stop()
    [line] = rows(tmp_path / "run", "logs")
    assert {name: line[name] for name in ("time_s", "service", "instance", "message")} == {
        **{"time_s": 1.5, "service": "orders", "instance": "orders-1", "message": "hi"}
    }
    [event] = rows(tmp_path / "run", "breakers")
    assert (event["edge"], event["state"]) == ("payments->bank", "open")


def otlp_protobuf() -> tuple[bytes, str]:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = "orders"
    group.resource.attributes.add(key="service.instance.id").value.string_value = "orders-1"
    record = group.scope_logs.add().log_records.add(
        time_unix_nano=1_500_000_000, severity_number=13, trace_id=b"\x01" * 16
    )
    record.body.string_value = "careful"
    record.attributes.add(key="order_id").value.string_value = "o1"
    return request.SerializeToString(), "application/x-protobuf"


def otlp_json() -> tuple[bytes, str]:
    def pair(key: str, value: str) -> dict[str, Any]:
        return {"key": key, "value": {"stringValue": value}}

    record = {
        **{"timeUnixNano": "1500000000", "severityNumber": 13, "traceId": "01" * 16},
        **{"body": {"stringValue": "careful"}, "attributes": [pair("order_id", "o1")]},
    }
    resource = [pair("service.name", "orders"), pair("service.instance.id", "orders-1")]
    group = {"resource": {"attributes": resource}, "scopeLogs": [{"logRecords": [record]}]}
    return json.dumps({"resourceLogs": [group]}).encode(), "application/json"


@pytest.mark.parametrize("request_of", [otlp_protobuf, otlp_json])
def test_otlp_logs_become_rows(recorder: RecorderProcess, tmp_path: Path, request_of: Any) -> None:
    recorder.start(tmp_path / "run")
    body, kind = request_of()
    assert recorder.call("POST", "/v1/logs", body, Content_Type=kind)[0] == 200
    recorder.stop()
    [line] = rows(tmp_path / "run", "logs")
    assert line == {
        "seq": 0,
        **{"time_s": 1.5, "level": "warning", "service": "orders", "instance": "orders-1"},
        **{"message": "careful", "trace_id": "01" * 16, "span_id": None},
        "attributes": '{"order_id":"o1"}',
    }


@pytest.mark.parametrize(
    ("trace_id", "span_id", "kept"),
    [
        ("5B8EFFF798038103D269B633813FC60C", "EEE19B7EC3C1B174", True),
        ("0" * 32, "0" * 16, False),
        ("5b8e", "ee", False),
        (None, None, False),
    ],
)
def test_the_ids_of_a_record_are_lower_case_and_invalid_ones_belong_to_no_trace(
    trace_id: str | None, span_id: str | None, kept: bool
) -> None:
    record = {"body": {"stringValue": "x"}, "traceId": trace_id, "spanId": span_id}
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    [found] = records_from_json(json.dumps(body).encode())
    ids = (found.get("trace_id"), found.get("span_id"))
    assert ids == ((str(trace_id).lower(), str(span_id).lower()) if kept else (None, None))


def test_an_id_of_a_record_that_is_not_hexadecimal_is_refused() -> None:
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": "x" * 32}]}]}]}
    with pytest.raises(OtlpError, match="no OTLP/JSON ExportLogsServiceRequest"):
        records_from_json(json.dumps(body).encode())

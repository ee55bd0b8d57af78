"""Spans sent by OTLP/HTTP are rows of the archive."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from tests.lab.recorder.recorder_process import SIGNALS_TOKEN, RecorderProcess, rows

PROTOBUF = "application/x-protobuf"

OTLP_JSON: dict[str, Any] = {
    "resourceSpans": [
        {
            "resource": {
                "attributes": [
                    {"key": "service.name", "value": {"stringValue": "orders"}},
                    {"key": "service.instance.id", "value": {"stringValue": "orders-1"}},
                ]
            },
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "5B8EFFF798038103D269B633813FC60C",
                            "spanId": "EEE19B7EC3C1B174",
                            "name": 'a "quoted"\n name',
                            "kind": "SPAN_KIND_PRODUCER",
                            "startTimeUnixNano": "1700000000000000001",
                            "endTimeUnixNano": "1700000000000000002",
                            "attributes": [
                                {"key": "many", "value": {"arrayValue": {"values": []}}},
                                {"key": "n", "value": {"intValue": "7"}},
                            ],
                            "events": [{"timeUnixNano": "1700000000000000002", "name": "half"}],
                        }
                    ]
                }
            ],
        }
    ]
}


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_a_span_of_the_real_exporter_arrives_with_every_column(
    recorder: RecorderProcess, tmp_path: Path, compression: Compression
) -> None:
    recorder.start(tmp_path / "run")
    resource = Resource(
        {"service.name": "orders", "service.instance.id": "orders-1", "breakwater.arm": "control"}
    )
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(
        endpoint=f"http://127.0.0.1:{recorder.port}/v1/traces",
        headers={"Authorization": f"Bearer {SIGNALS_TOKEN}"},
        compression=compression,
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("POST /payments", kind=SpanKind.CLIENT) as parent:
        parent.add_event("retry.attempt", {"n": 2, "why": 'a "timeout"'}, 1_700_000_000_000_000_003)
        parent.set_attribute("http.request.method", "POST")
        parent.set_attribute("http.response.status_code", 503)
        parent.set_attribute("http.request.resend_count", 2)
        parent.set_attribute("server.address", "payments")
        parent.set_attribute("sampled", True)
        parent.set_attribute("ratio", float("nan"))
        parent.set_attribute("zero", 0)
        parent.set_attribute("text", 'é "q" \\ \x00')
        parent.set_status(Status(StatusCode.ERROR))
        with tracer.start_as_current_span("child"):
            pass
    provider.shutdown()
    counts = recorder.stop()
    assert counts["rows"]["spans"] == 2
    assert sum(counts["shed"].values()) == 0
    by_name = {row["name"]: row for row in rows(tmp_path / "run", "spans")}
    span, child = by_name["POST /payments"], by_name["child"]
    assert child["parent_span_id"] == span["span_id"]
    assert child["trace_id"] == span["trace_id"]
    assert span["parent_span_id"] == ""
    assert (span["service"], span["instance"], span["arm"]) == ("orders", "orders-1", "control")
    assert (span["kind"], span["status"], span["http_method"]) == ("client", "error", "POST")
    assert (span["http_status"], span["attempt"], span["peer"]) == (503, 2, "payments")
    assert child["http_status"] is None
    assert child["events"] is None
    assert json.loads(span["events"]) == [
        {
            **{"time_ns": 1_700_000_000_000_000_003, "name": "retry.attempt"},
            "attributes": {"n": 2, "why": 'a "timeout"'},
        }
    ]
    assert span["end_ns"] > span["start_ns"] > 1_600_000_000_000_000_000
    assert json.loads(span["attributes"]) == {
        **{"sampled": True, "ratio": "nan", "zero": 0, "text": 'é "q" \\ \x00'}
    }


def test_otlp_json_spans_become_rows(recorder: RecorderProcess, tmp_path: Path) -> None:
    recorder.start(tmp_path / "run")
    body = json.dumps(OTLP_JSON).encode()
    status, _ = recorder.call(
        "POST",
        "/v1/traces",
        gzip.compress(body),
        Content_Type="application/json",
        Content_Encoding="gzip",
    )
    assert status == 200
    recorder.stop()
    [span] = rows(tmp_path / "run", "spans")
    assert span["trace_id"] == "5b8efff798038103d269b633813fc60c"
    assert span["name"] == 'a "quoted"\n name'
    assert (span["kind"], span["start_ns"]) == ("producer", 1_700_000_000_000_000_001)
    assert json.loads(span["attributes"]) == {"many": [], "n": 7}
    half = {"time_ns": 1_700_000_000_000_000_002, "name": "half", "attributes": {}}
    assert json.loads(span["events"]) == [half]


@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        (b"\xff\xff", {"Content_Type": PROTOBUF}, 400, "no protobuf"),
        (b"{", {"Content_Type": "application/json"}, 400, "no OTLP/JSON"),
        (b"[]", {"Content_Type": "application/json"}, 400, "no OTLP/JSON"),
        (b"", {"Content_Type": "text/plain"}, 415, "application/x-protobuf"),
        (b"xy", {"Content_Type": PROTOBUF, "Content_Encoding": "gzip"}, 400, "no gzip"),
        (b"x", {"Content_Type": PROTOBUF, "Content_Encoding": "br"}, 415, "br is unknown"),
        (bytes(9 * 2**20), {"Content_Type": PROTOBUF}, 413, "send less"),
        (
            gzip.compress(bytes(40 * 2**20)),
            {"Content_Type": PROTOBUF, "Content_Encoding": "gzip"},
            413,
            "unpacks to more",
        ),
    ],
)
def test_a_bad_body_is_refused_with_what_to_do(
    recorder: RecorderProcess,
    tmp_path: Path,
    body: bytes,
    headers: dict[str, str],
    status: int,
    text: str,
) -> None:
    recorder.start(tmp_path / "run")
    answered, answer = recorder.call("POST", "/v1/traces", body, **headers)
    assert answered == status
    assert text in answer["error"]
    assert recorder.call("GET", "/recording")[1]["rows"]["spans"] == 0


def test_a_span_that_can_never_fit_is_refused_for_ever_and_counted_as_lost(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    recorder.start(tmp_path / "run")
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=b"\x01" * 16, span_id=b"\x01" * 8)
    )
    long = span.attributes.add(key="note").value
    long.string_value = "\u00e9" * (6 * 2**20)  # as JSON three times as long: more than the queue
    body = gzip.compress(request.SerializeToString(), 1)
    head = {"Content_Type": PROTOBUF, "Content_Encoding": "gzip"}
    status, answer = recorder.call("POST", "/v1/traces", body, **head)
    assert status == 413
    assert "send less" in answer["error"]
    assert recorder.stop()["shed"]["spans"] == 1


def test_spans_sent_while_nothing_records_are_dropped(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    body = json.dumps(OTLP_JSON).encode()
    send = {"Content_Type": "application/json"}
    assert recorder.call("POST", "/v1/traces", body, **send)[0] == 200
    recorder.start(tmp_path / "run")
    recorder.call("POST", "/v1/traces", body, **send)
    recorder.stop()
    assert recorder.call("POST", "/v1/traces", body, **send)[0] == 200
    assert len(rows(tmp_path / "run", "spans")) == 1

"""Makes nginx's span of each trace from nginx's log, because nginx exports no spans."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision

from lab.json_text import parse
from lab.recorder.intake.tail import TailedFile

LOG = "nginx.jsonl"
SCOPE = "breakwater.ingress"


class NginxSpans:
    """Makes spans from the lines that nginx adds to its log in `folder` after construction.

    nginx's times are in ms, so its span may start up to 1 ms after its child, or end up to 1 ms before it.
    The services' sampler (OTEL_TRACES_SAMPLER) decides by trace id, so nginx keeps the same traces as they do.
    """

    def __init__(self, folder: Path, take: Callable[[bytes], None]) -> None:
        """`take` is called with each OTLP trace request (protobuf)."""
        self._path = folder / LOG
        self._take = take
        self._file = TailedFile(self._path, from_end=True) if self._path.exists() else None
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"

    def read(self) -> None:
        """Reads new lines and passes their spans on."""
        if self._file is None:
            if not self._path.exists():
                return
            self._file = TailedFile(self._path, from_end=False)
        spans = [span for line in self._file.lines() if (span := self._span(line)) is not None]
        if spans:
            self._take(_request(spans).SerializeToString())

    def skip(self) -> None:
        """Passes over new lines, of which no span is wanted."""
        if self._file is not None:
            for _ in self._file.lines():
                pass
        elif self._path.exists():
            self._file = TailedFile(self._path, from_end=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _span(self, line: bytes) -> Span | None:
        if self._disabled:
            return None
        try:
            span = _span_of(parse(line))
        except (ValueError, KeyError, TypeError, OverflowError):
            return None  # a message of nginx, or a request that was not HTTP
        trace_id = int.from_bytes(span.trace_id, "big")
        decision = self._sampler.should_sample(None, trace_id, span.name).decision
        return span if decision is Decision.RECORD_AND_SAMPLE else None


def _span_of(line: dict[str, Any]) -> Span:
    end_ms = round(float(line["time"]) * 1e3)  # nginx's unit; a float cannot hold ns
    start_ms = end_ms - round(float(line["duration_s"]) * 1e3)
    status = int(line["status"])
    attributes: dict[str, str | int] = {
        "http.request.method": str(line["method"]),
        "url.path": str(line["path"]),
        "http.response.status_code": status,
        "http.response.size": int(line["bytes"]),
        "breakwater.upstream": str(line["upstream"]),
    }
    return Span(
        trace_id=bytes.fromhex(line["trace_id"]),
        span_id=bytes.fromhex(line["span_id"]),
        name=str(line["method"]),
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=start_ms * 1_000_000,
        end_time_unix_nano=end_ms * 1_000_000,
        attributes=[_attribute(key, value) for key, value in attributes.items() if value != ""],
        status=Status(code=Status.STATUS_CODE_ERROR) if status >= 500 else None,
    )


def _request(spans: list[Span]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for name in ("service.name", "service.instance.id"):
        group.resource.attributes.append(_attribute(name, "nginx"))
    group.scope_spans.append(ScopeSpans(spans=spans))
    group.scope_spans[0].scope.name = SCOPE
    return request


def _attribute(key: str, value: str | int) -> KeyValue:
    one = AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
    return KeyValue(key=key, value=one)

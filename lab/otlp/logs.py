"""Converts OTLP log requests (protobuf or JSON) to records like those of a service's log lines."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from lab.otlp.from_json import message_from_json
from lab.otlp.values import OtlpError, checked_ns, from_protobuf, pairs_from_protobuf

LEVELS = ("", "trace", "debug", "info", "warning", "error", "critical")  # four severities each


def records_from_protobuf(body: bytes) -> list[dict[str, Any]]:
    """The log records of an ExportLogsServiceRequest. Raises OtlpError."""
    try:
        request = ExportLogsServiceRequest.FromString(body)
    except DecodeError as error:
        raise OtlpError(f"the body is no protobuf ExportLogsServiceRequest: {error}") from None
    return _records(request)


def records_from_json(body: bytes) -> list[dict[str, Any]]:
    """The same for OTLP's JSON form."""
    path = ("resourceLogs", "scopeLogs", "logRecords")
    return _records(message_from_json(body, ExportLogsServiceRequest(), path))


def _records(request: ExportLogsServiceRequest) -> list[dict[str, Any]]:
    return [
        _record(
            resource=pairs_from_protobuf(group.resource.attributes),
            time_ns=record.time_unix_nano or record.observed_time_unix_nano,
            level=record.severity_text.lower() or _level(record.severity_number),
            body=from_protobuf(record.body),
            ids=(_id(record.trace_id, 16), _id(record.span_id, 8)),
            attributes=pairs_from_protobuf(record.attributes),
        )
        for group in request.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]


def _record(
    *,
    resource: dict[str, Any],
    time_ns: int,
    level: str,
    body: Any,
    ids: tuple[str, str],
    attributes: dict[str, Any],
) -> dict[str, Any]:
    # A collector that parsed a service's line may give its fields as the body or as attributes.
    record = attributes | (body if isinstance(body, dict) else {"message": body})
    record.setdefault("service", str(resource.get("service.name", "")))
    record.setdefault("instance", str(resource.get("service.instance.id", "")))
    record.setdefault("level", level)
    if checked_ns(time_ns):
        record.setdefault("time", time_ns / 1e9)
    for name, value in zip(("trace_id", "span_id"), ids, strict=True):
        if value:
            record.setdefault(name, value)
    return record


def _id(value: bytes, length: int) -> str:
    """In hexadecimal; "" for an invalid id, by which a record belongs to no trace (OTLP's logs.proto)."""
    return value.hex() if len(value) == length and any(value) else ""


def _level(severity: int) -> str:
    return LEVELS[(severity + 3) // 4] if 0 <= severity <= 24 else ""

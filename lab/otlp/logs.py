"""Converts OTLP log requests (protobuf or JSON) to records like those of a service's log lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from lab.json_text import parse
from lab.otlp.values import (
    OtlpError,
    checked_ns,
    from_json,
    from_protobuf,
    pairs_from_json,
    pairs_from_protobuf,
)

LEVELS = ("", "trace", "debug", "info", "warning", "error", "critical")  # four severities each


def records_from_protobuf(body: bytes) -> list[dict[str, Any]]:
    """The log records of an ExportLogsServiceRequest. Raises OtlpError."""
    try:
        request = ExportLogsServiceRequest.FromString(body)
    except DecodeError as error:
        raise OtlpError(f"the body is no protobuf ExportLogsServiceRequest: {error}") from None
    return [
        _record(
            resource=pairs_from_protobuf(group.resource.attributes),
            time_ns=record.time_unix_nano or record.observed_time_unix_nano,
            level=record.severity_text.lower() or _level(record.severity_number),
            body=from_protobuf(record.body),
            ids=(record.trace_id.hex(), record.span_id.hex()),
            attributes=pairs_from_protobuf(record.attributes),
        )
        for group in request.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]


def records_from_json(body: bytes) -> list[dict[str, Any]]:
    """The same for OTLP's JSON form."""
    try:
        return list(_json_records(parse(body)))
    except OtlpError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise OtlpError(f"the body is no OTLP/JSON log request: {error!r:.300}") from None


def _json_records(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in request.get("resourceLogs", []):
        resource = pairs_from_json(group.get("resource", {}).get("attributes", []))
        for scope in group.get("scopeLogs", []):
            for record in scope.get("logRecords", []):
                yield _record(
                    resource=resource,
                    time_ns=int(
                        record.get("timeUnixNano") or record.get("observedTimeUnixNano", 0)
                    ),
                    level=str(record.get("severityText", "")).lower()
                    or _level(int(record.get("severityNumber", 0))),
                    body=from_json(record.get("body", {})),
                    ids=(str(record.get("traceId", "")), str(record.get("spanId", ""))),
                    attributes=pairs_from_json(record.get("attributes", [])),
                )


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


def _level(severity: int) -> str:
    return LEVELS[(severity + 3) // 4] if 0 <= severity <= 24 else ""

"""OTLP log requests (protobuf or JSON) to the records that a service's own log lines are."""

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
            time_ns=told.time_unix_nano or told.observed_time_unix_nano,
            level=told.severity_text.lower() or _level(told.severity_number),
            body=from_protobuf(told.body),
            ids=(told.trace_id.hex(), told.span_id.hex()),
            attributes=pairs_from_protobuf(told.attributes),
        )
        for group in request.resource_logs
        for scope in group.scope_logs
        for told in scope.log_records
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
            for told in scope.get("logRecords", []):
                yield _record(
                    resource=resource,
                    time_ns=int(told.get("timeUnixNano") or told.get("observedTimeUnixNano", 0)),
                    level=str(told.get("severityText", "")).lower()
                    or _level(int(told.get("severityNumber", 0))),
                    body=from_json(told.get("body", {})),
                    ids=(str(told.get("traceId", "")), str(told.get("spanId", ""))),
                    attributes=pairs_from_json(told.get("attributes", [])),
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

"""OTLP trace requests (protobuf or JSON) to lines of the spans table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quote
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")

# Attributes with a column of their own; the first name found wins.
METHOD = ("http.request.method",)
ROUTE = ("http.route", "url.template")
STATUS = ("http.response.status_code",)
PEER = ("breakwater.edge", "peer.service", "server.address", "messaging.destination.name")
ATTEMPT = ("breakwater.attempt", "http.request.resend_count")

Resource = tuple[str, str]  # the JSON members of service and instance and arm; the arm alone


class BadTraces(ValueError):
    """The body is no OTLP trace request; the text says what is wrong."""


def lines_from_protobuf(body: bytes) -> tuple[bytes, int]:
    """(newline-ended JSON lines, number of spans) of a protobuf ExportTraceServiceRequest."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise BadTraces(f"the body is no protobuf ExportTraceServiceRequest: {error}") from None
    lines: list[str] = []
    for group in request.resource_spans:
        resource = _resource({pair.key: _value(pair.value) for pair in group.resource.attributes})
        for scope in group.scope_spans:
            for span in scope.spans:
                lines.append(
                    _line(
                        resource,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.name,
                        span.kind,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        span.status.code,
                        # Most values are non-empty text: look there before asking which it is.
                        {p.key: p.value.string_value or _value(p.value) for p in span.attributes},
                    )
                )
    return "".join(lines).encode("ascii"), len(lines)


def lines_from_json(body: bytes) -> tuple[bytes, int]:
    """The same for OTLP's JSON form (ids are hex text, 64-bit integers may be text)."""
    lines: list[str] = []
    try:
        for group in json.loads(body).get("resourceSpans", []):
            resource = _resource(_json_pairs(group.get("resource", {}).get("attributes", [])))
            for scope in group.get("scopeSpans", []):
                for span in scope.get("spans", []):
                    lines.append(_json_line(resource, span))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadTraces(f"the body is no OTLP/JSON trace request: {error!r}") from None
    return "".join(lines).encode("ascii"), len(lines)


def _json_line(resource: Resource, span: dict[str, Any]) -> str:
    kind, code = span.get("kind", 0), span.get("status", {}).get("code", 0)
    if isinstance(kind, str):
        kind = KINDS.index(kind.removeprefix("SPAN_KIND_").lower())
    if isinstance(code, str):
        code = STATUSES.index(code.removeprefix("STATUS_CODE_").lower())
    return _line(
        resource,
        bytes.fromhex(span["traceId"]).hex(),
        bytes.fromhex(span["spanId"]).hex(),
        bytes.fromhex(span.get("parentSpanId", "")).hex(),
        str(span.get("name", "")),
        int(kind),
        int(span["startTimeUnixNano"]),
        int(span["endTimeUnixNano"]),
        int(code),
        _json_pairs(span.get("attributes", [])),
    )


def _resource(attributes: dict[str, Any]) -> Resource:
    arm = str(attributes.get("breakwater.arm", ""))
    members = '"service":%s,"instance":%s' % (  # noqa: UP031
        quote(str(attributes.get("service.name", ""))),
        quote(str(attributes.get("service.instance.id", ""))),
    )
    return members, arm


def _line(
    resource: Resource,
    trace_id: str,
    span_id: str,
    parent_span_id: str,
    name: str,
    kind: int,
    start_ns: int,
    end_ns: int,
    status: int,
    attributes: dict[str, Any],
) -> str:
    # Formatted by hand: this runs 20,000 times a second, a dict and json.dumps cost twice as much.
    members, arm = resource
    return (
        f'{{"trace_id":"{trace_id}","span_id":"{span_id}","parent_span_id":"{parent_span_id}",'
        f'{members},"arm":{quote(str(attributes.pop("breakwater.arm", arm)))},'
        f'"name":{quote(name)},"kind":"{KINDS[kind] if kind < 6 else "internal"}",'
        f'"start_ns":{start_ns},"end_ns":{end_ns},'
        f'"status":"{STATUSES[status] if status < 3 else "unset"}",'
        f'"http_method":{_text(attributes, METHOD)},"http_route":{_text(attributes, ROUTE)},'
        f'"http_status":{_number(attributes, STATUS)},"peer":{_text(attributes, PEER)},'
        f'"attempt":{_number(attributes, ATTEMPT)},"attributes":{_object(attributes)}}}\n'
    )


def _text(attributes: dict[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if name in attributes:
            return quote(str(attributes.pop(name)))
    return "null"


def _number(attributes: dict[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if name in attributes:
            value = attributes.pop(name)
            try:
                return str(int(value))
            except (TypeError, ValueError, OverflowError):
                attributes[name] = value  # not a number after all: keep it where nothing is lost
    return "null"


def _object(attributes: dict[str, Any]) -> str:
    parts = [
        f"{quote(key)}:{quote(value) if value.__class__ is str else _json(value)}"
        for key, value in attributes.items()
    ]
    return "{" + ",".join(parts) + "}"


def _json(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return quote(str(value))  # JSON has no NaN and no infinity
    return json.dumps(value)


def _value(value: Any) -> Any:
    """What a protobuf AnyValue holds, as a plain Python value."""
    which = value.WhichOneof("value")
    if which is None:
        return ""
    if which == "array_value":
        return [_value(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    if which == "bytes_value":
        return value.bytes_value.hex()
    return getattr(value, which)


def _json_pairs(pairs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {str(pair["key"]): _json_value(pair.get("value", {})) for pair in pairs}


def _json_value(value: dict[str, Any]) -> Any:
    for which, held in value.items():
        if which == "intValue":
            return int(held)
        if which == "arrayValue":
            return [_json_value(item) for item in held.get("values", [])]
        if which == "kvlistValue":
            return _json_pairs(held.get("values", []))
        return held
    return ""

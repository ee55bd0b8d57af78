"""Converts OTLP trace requests (protobuf or JSON) to lines of the spans table."""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quote
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lab.otlp.from_json import message_from_json
from lab.otlp.values import OtlpError, checked_id, checked_ns, object_text, pairs_from_protobuf

KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")

# Attributes with their own column. The first name that is present is used.
METHOD = ("http.request.method",)
ROUTE = ("http.route", "url.template")
STATUS = ("http.response.status_code",)
PEER = ("breakwater.edge", "peer.service", "server.address", "messaging.destination.name")
ATTEMPT = ("breakwater.attempt", "http.request.resend_count")
SMALL_MAX = 2**31 - 1  # the largest value of an INTEGER column


class Resource(NamedTuple):
    """The sender of spans: its service and instance as JSON members, and its arm."""

    members: str
    arm: str


def lines_from_protobuf(body: bytes) -> tuple[bytes, int]:
    """(newline-ended JSON lines, number of spans) of a protobuf ExportTraceServiceRequest.

    Raises OtlpError if one span is malformed: then the whole request is refused.
    """
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise OtlpError(f"the body is no protobuf ExportTraceServiceRequest: {error}") from None
    return _lines(request)


def lines_from_json(body: bytes) -> tuple[bytes, int]:
    """The same for OTLP's JSON form."""
    path = ("resourceSpans", "scopeSpans", "spans")
    return _lines(message_from_json(body, ExportTraceServiceRequest(), path))


def _lines(request: ExportTraceServiceRequest) -> tuple[bytes, int]:
    lines: list[str] = []
    for group in request.resource_spans:
        resource = _resource(pairs_from_protobuf(group.resource.attributes))
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
                        pairs_from_protobuf(span.attributes),
                        [
                            (e.time_unix_nano, e.name, pairs_from_protobuf(e.attributes))
                            for e in span.events
                        ],
                    )
                )
    return "".join(lines).encode("ascii"), len(lines)


def _resource(attributes: dict[str, Any]) -> Resource:
    members = '"service":%s,"instance":%s' % (  # noqa: UP031
        quote(str(attributes.get("service.name", ""))),
        quote(str(attributes.get("service.instance.id", ""))),
    )
    return Resource(members, str(attributes.get("breakwater.arm", "")))


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
    events: list[tuple[int, str, dict[str, Any]]],
) -> str:
    # Formatted by hand: it runs 20,000 times a second, and a dict with json.dumps costs twice as much.
    members, arm = resource
    checked_id(trace_id, 32, "trace id")
    checked_id(span_id, 16, "span id")
    if parent_span_id:
        checked_id(parent_span_id, 16, "parent span id")
    return (
        f'{{"trace_id":"{trace_id}","span_id":"{span_id}","parent_span_id":"{parent_span_id}",'
        f'{members},"arm":{quote(str(attributes.pop("breakwater.arm", arm)))},'
        f'"name":{quote(name)},"kind":"{KINDS[kind] if 0 <= kind < 6 else "internal"}",'
        f'"start_ns":{checked_ns(start_ns)},"end_ns":{checked_ns(end_ns)},'
        f'"status":"{STATUSES[status] if 0 <= status < 3 else "unset"}",'
        f'"http_method":{_text(attributes, METHOD)},"http_route":{_text(attributes, ROUTE)},'
        f'"http_status":{_number(attributes, STATUS)},"peer":{_text(attributes, PEER)},'
        f'"attempt":{_number(attributes, ATTEMPT)},"attributes":{object_text(attributes)},'
        f'"events":{_events(events) if events else "null"}}}\n'
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
                number = int(value)
            except (TypeError, ValueError, OverflowError):
                number = SMALL_MAX + 1
            if abs(number) <= SMALL_MAX:
                return str(number)
            attributes[name] = (
                value  # not a number that fits the column: keep it among the attributes
            )
            return "null"
    return "null"


def _events(events: list[tuple[int, str, dict[str, Any]]]) -> str:
    rows = [
        f'{{"time_ns":{checked_ns(time_ns)},"name":{quote(name)},'
        f'"attributes":{object_text(attributes)}}}'
        for time_ns, name, attributes in events
    ]
    return "[" + ",".join(rows) + "]"

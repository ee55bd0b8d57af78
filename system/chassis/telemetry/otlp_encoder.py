"""Encodes ended spans as an OTLP trace request, at a quarter of the library's cost.

The services create sixty spans per order, and encoding was more than half of their cost. Only simple spans are
encoded here (no events, no links, nothing dropped, attributes with single values). The library encodes all others.
The field numbers are those of opentelemetry/proto/trace/v1/trace.proto, the wire types those of protobuf.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

_TIMES = Struct("<cQcQ")  # start (7) and end (8), each a fixed64
_FLAGS = Struct("<2sI")  # flags (16), a fixed32
_DOUBLE = Struct("<cd")
_HAS_REMOTE, _REMOTE = 0x100, 0x200
Head = tuple[bytes, bytes]


class SpanEncoder:
    """Encodes the spans of one process, which has one resource and few tracers."""

    def __init__(self) -> None:
        self._heads: dict[tuple[int, int], Head] = {}
        self._objects: list[object] = []  # the objects with these ids, kept so that no id is reused

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        """An ExportTraceServiceRequest with these spans."""
        simple: dict[Head, list[bytes]] = {}
        others: list[ReadableSpan] = []
        for span in spans:
            try:
                encoded = _span(span)
            except NotSimpleError:
                others.append(span)
            else:
                simple.setdefault(self._head(span), []).append(_field(0x12, encoded))
        request = encode_spans(others).SerializeToString() if others else b""
        for (resource, scope), encoded_spans in simple.items():
            scope_spans = _field(0x12, scope + b"".join(encoded_spans))
            request += _field(0x0A, resource + scope_spans)
        return request

    def _head(self, span: ReadableSpan) -> Head:
        """The encoded fields of the span's resource and scope, by the library."""
        key = id(span.resource), id(span.instrumentation_scope)
        head = self._heads.get(key)
        if head is None:
            bare = ReadableSpan(
                "",
                span.context,
                resource=span.resource,
                instrumentation_scope=span.instrumentation_scope,
            )
            (group,) = encode_spans([bare]).resource_spans
            resource = _field(0x0A, group.resource.SerializeToString())
            scope = _field(0x0A, group.scope_spans[0].scope.SerializeToString())
            head = self._heads[key] = (resource, scope)
            self._objects += (span.resource, span.instrumentation_scope)
        return head


class NotSimpleError(Exception):
    """The span has a part that only the library encodes."""


def _span(span: ReadableSpan) -> bytes:
    # the fields behind the properties: those copy events, links and attributes
    context, parent, attributes = span._context, span._parent, span._attributes
    if context is None or span._events or span._links or context.trace_state:
        raise NotSimpleError
    if isinstance(attributes, BoundedAttributes) and (
        attributes.dropped or span.dropped_events or span.dropped_links
    ):
        raise NotSimpleError
    parts = [
        b"\x0a\x10", context.trace_id.to_bytes(16, "big"),
        b"\x12\x08", context.span_id.to_bytes(8, "big"),
    ]  # fmt: skip
    if parent is not None:
        parts += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
    parts += (
        _name(span._name, span._kind.value + 1),  # OTLP's kinds start at 1; 0 is "unspecified"
        _TIMES.pack(b"\x39", span._start_time or 0, b"\x41", span._end_time or 0),
    )
    if attributes:
        parts += [_attribute(key, value) for key, value in attributes.items()]
    code, description = span._status.status_code.value, span._status.description
    status = (_field(0x12, _text(description)) if description else b"") + (
        bytes((0x18, code)) if code else b""
    )
    flags = _HAS_REMOTE | (_REMOTE if parent is not None and parent.is_remote else 0)
    parts += (_field(0x7A, status), _FLAGS.pack(b"\x85\x01", flags))
    return b"".join(parts)


@lru_cache(2048)
def _name(name: str, kind: int) -> bytes:
    return _field(0x2A, _text(name)) + bytes((0x30, kind))


@lru_cache(4096, typed=True)  # typed: 1, 1.0 and True are equal, but have different encodings
def _attribute(key: str, value: object) -> bytes:
    return _field(0x4A, _field(0x0A, _text(key)) + _field(0x12, _value(value)))


def _value(value: object) -> bytes:
    """An encoded AnyValue."""
    if isinstance(value, str):
        return _field(0x0A, _text(value))
    if isinstance(value, bool):
        return bytes((0x10, value))
    if isinstance(value, int):
        return b"\x18" + _varint(value % 2**64)
    if isinstance(value, float):
        return _DOUBLE.pack(b"\x21", value)
    raise NotSimpleError


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate must not stop the export


def _field(tag: int, content: bytes) -> bytes:
    """A length-delimited field. The tag must be below 128."""
    return bytes((tag,)) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)

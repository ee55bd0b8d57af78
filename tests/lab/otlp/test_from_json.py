"""OTLP/JSON against ProtoJSON's own writer: both forms of a request give the same lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from lab.otlp.spans import lines_from_json, lines_from_protobuf

GOOD: dict[str, Any] = {
    **{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"},
    **{"startTimeUnixNano": "1", "endTimeUnixNano": "2", "name": "x"},
}
LISTS = ("resourceSpans", "scopeSpans", "spans")

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
PLAIN = st.one_of(
    TEXT.map(lambda text: AnyValue(string_value=text)),
    st.booleans().map(lambda truth: AnyValue(bool_value=truth)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: AnyValue(int_value=number)),
    st.floats().map(lambda number: AnyValue(double_value=number)),
    st.binary(max_size=6).map(lambda data: AnyValue(bytes_value=data)),
)
ANY = st.recursive(
    PLAIN,
    lambda some: (
        st.lists(some, max_size=3).map(
            lambda values: AnyValue(array_value=ArrayValue(values=values))
        )
        | st.dictionaries(TEXT, some, max_size=3).map(
            lambda values: AnyValue(kvlist_value=KeyValueList(values=pairs(values)))
        )
    ),
    max_leaves=5,
)
TIMES = st.integers(0, 2**63 - 1)
IDS = st.integers(1, 255)
SPANS = st.builds(
    Span,
    trace_id=IDS.map(lambda n: bytes([n]) * 16),
    span_id=IDS.map(lambda n: bytes([n]) * 8),
    parent_span_id=st.just(b"") | IDS.map(lambda n: bytes([n]) * 8),
    name=TEXT,
    kind=st.integers(0, 5),
    start_time_unix_nano=TIMES,
    end_time_unix_nano=TIMES,
    status=st.builds(Status, code=st.integers(0, 2)),
    attributes=st.dictionaries(TEXT, ANY, max_size=4).map(lambda values: pairs(values)),
    events=st.lists(st.builds(Span.Event, name=TEXT, time_unix_nano=TIMES), max_size=2),
    links=st.lists(st.builds(Span.Link, trace_id=st.just(b"\x01" * 16)), max_size=1),
)


def pairs(values: dict[str, AnyValue]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def in_hexadecimal(spans: list[dict[str, Any]], own: list[Span]) -> None:
    """OTLP's one difference from ProtoJSON, which writes bytes in base64."""
    for span, written in zip(own, spans, strict=True):
        ids = {
            "traceId": span.trace_id,
            "spanId": span.span_id,
            "parentSpanId": span.parent_span_id,
        }
        written |= {name: value.hex().upper() for name, value in ids.items() if value}
        for link in written.get("links", ()):
            link["traceId"] = "01" * 16


@given(st.lists(SPANS, max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_request_gives_the_same_lines_as_protobuf_and_as_json(own: list[Span]) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(own)
    found = MessageToDict(request)
    spans = found["resourceSpans"][0]["scopeSpans"][0].get("spans", [])
    in_hexadecimal(spans, own)
    body = json.dumps(found).encode()
    assert lines_from_json(body) == lines_from_protobuf(request.SerializeToString())


def request_of(span: dict[str, Any], **nulls: None) -> bytes:
    """A request with one span; `nulls` are further members, on every level."""
    inner: Any = span | nulls
    for name in reversed(LISTS):
        inner = {name: [inner]} | nulls
    return json.dumps(inner).encode()


@pytest.mark.parametrize(
    "name",
    [
        *("parentSpanId", "name", "kind", "status", "attributes", "events", "links", "flags"),
        *("startTimeUnixNano", "endTimeUnixNano", "resource", "scope", "schemaUrl", "unheardOf"),
    ],
)
def test_null_equals_absent(name: str) -> None:
    without = {key: value for key, value in GOOD.items() if key != name}
    expected = lines_from_json(request_of(without))
    assert expected[1] == 1
    assert lines_from_json(request_of(without, **{name: None})) == expected


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_is_null_is_empty(name: str) -> None:
    body = request_of(GOOD)
    inner = json.loads(body)
    where = inner
    for outer in LISTS[: LISTS.index(name)]:
        where = where[outer][0]
    where[name] = None
    assert lines_from_json(json.dumps(inner).encode()) == (b"", 0)


@pytest.mark.parametrize("member", ["stringValue", "intValue", "arrayValue", "kvlistValue", "none"])
def test_a_value_that_is_null_is_empty(member: str) -> None:
    span = GOOD | {"attributes": [{"key": "a", "value": {member: None}}]}
    [line] = lines_from_json(request_of(span))[0].splitlines()
    assert json.loads(line)["attributes"] == {"a": ""}


@pytest.mark.parametrize("number", [7, 7.0, "7", "7.0", "7e0"])
def test_a_number_may_be_text_and_may_have_an_exponent(number: object) -> None:
    span = GOOD | {"startTimeUnixNano": number, "kind": 3}
    span |= {"attributes": [{"key": "a", "value": {"intValue": number}}]}
    [line] = lines_from_json(request_of(span))[0].splitlines()
    row = json.loads(line)
    assert (row["start_ns"], row["kind"], row["attributes"]) == (7, "client", {"a": 7})


@pytest.mark.parametrize(
    "odd", [{"kind": "SPAN_KIND_NEW"}, {"status": {"code": "STATUS_CODE_NEW"}}]
)
def test_an_unknown_name_of_an_enumeration_is_ignored_as_an_unknown_member_is(odd: Any) -> None:
    assert lines_from_json(request_of(GOOD | odd)) == lines_from_json(request_of(GOOD))

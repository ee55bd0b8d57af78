"""Any spans are decoded the same as from the library's own encoding."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from chassis.telemetry.otlp_encoder import SpanEncoder

PROVIDER = TracerProvider(
    resource=Resource({"service.name": "orders", "breakwater.arm": "é"}), shutdown_on_exit=False
)
TRACER = PROVIDER.get_tracer("one", "1.0")
SINGLE = st.one_of(
    st.text(max_size=300),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)
ATTRIBUTES = st.dictionaries(
    st.text(min_size=1, max_size=20),
    st.one_of(SINGLE, st.lists(st.integers(0, 5), max_size=3)),
    max_size=8,
)


def spans_of(body: bytes) -> list[tuple[str, str, str]]:
    """(resource, scope, span) of each span as text, in a sorted order."""
    request = ExportTraceServiceRequest.FromString(body)
    return sorted(
        (str(group.resource), str(scope.scope), str(span))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    )


def assert_the_same(spans: list[ReadableSpan]) -> None:
    ours, theirs = SpanEncoder().encode(spans), encode_spans(spans).SerializeToString()
    assert spans_of(ours) == spans_of(theirs)


def made(name: str = "work", **options: Any) -> ReadableSpan:
    span = TRACER.start_span(name, **options)
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


@given(
    st.lists(
        st.tuples(
            st.text(max_size=40),
            ATTRIBUTES,
            st.sampled_from(SpanKind),
            st.sampled_from(StatusCode),
            st.text(max_size=10),
            st.booleans(),
        ),
        max_size=5,
    )
)
def test_any_spans_are_decoded_the_same(given_spans: list[tuple[Any, ...]]) -> None:
    spans: list[ReadableSpan] = []
    for name, attributes, kind, code, description, remote in given_spans:
        parent = SpanContext(7, 9, is_remote=remote, trace_flags=TraceFlags(1))
        context = set_span_in_context(NonRecordingSpan(parent))
        span = TRACER.start_span(name, context, kind, attributes)
        span.set_status(Status(code, description if code is StatusCode.ERROR else None))
        span.end()
        assert isinstance(span, ReadableSpan)
        spans.append(span)
    assert_the_same(spans)


def test_events_links_and_trace_states_are_kept() -> None:
    span = TRACER.start_span("with an event")
    span.add_event("happened", {"n": 1})
    span.end()
    assert isinstance(span, ReadableSpan)
    stated = SpanContext(3, 4, False, TraceFlags(1), TraceState([("a", "b")]))
    context = set_span_in_context(NonRecordingSpan(stated))
    linked = made(links=[Link(SpanContext(1, 2, is_remote=True))])
    assert_the_same([span, linked, made(context=context), made()])


def test_dropped_attributes_are_counted() -> None:
    few = TracerProvider(span_limits=SpanLimits(max_attributes=1), shutdown_on_exit=False)
    span = few.get_tracer("few").start_span("x", attributes={"a": 1, "b": 2})
    span.end()
    assert isinstance(span, ReadableSpan)
    assert span.dropped_attributes == 1
    assert_the_same([span])


def test_spans_of_two_tracers_stay_apart() -> None:
    other = PROVIDER.get_tracer("two").start_span("y")
    other.end()
    assert isinstance(other, ReadableSpan)
    assert_the_same([made(), other, made()])


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", -1, 2**63 - 1, -(2**63), "", "x" * 20_000])
def test_equal_values_of_different_types_are_not_mixed_up(value: object) -> None:
    encoder = SpanEncoder()
    spans = [made(attributes={"v": each}) for each in (1, value, True, 1.0, value)]
    assert spans_of(encoder.encode(spans)) == spans_of(encode_spans(spans).SerializeToString())


def test_an_invalid_name_does_not_stop_the_export() -> None:
    ((_, _, span),) = spans_of(SpanEncoder().encode([made("\ud800")]))
    assert 'name: "?"' in span


def test_no_spans_give_an_empty_request() -> None:
    assert SpanEncoder().encode([]) == b""

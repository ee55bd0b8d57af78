"""A light span arrives at the exporter as the SDK's own span does."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chassis.telemetry.light_spans import LightSpan, LightTracer
from chassis.telemetry.otlp_encoder import SpanEncoder
from chassis.telemetry.propagation import Propagator

PROVIDER = TracerProvider(shutdown_on_exit=False)
PARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
Work = Callable[[trace.Span], Any]


def plain(span: trace.Span) -> None:
    span.set_attributes({"a": 1, "b": "text", "c": True})
    span.set_attribute("b", 2.5)
    span.update_name("renamed")


def with_events(span: trace.Span) -> None:
    span.add_event("retry", {"attempt": 2}, 17)
    span.add_event("again", None, 18)
    span.add_link(SpanContext(5, 6, True), {"why": "batch"})


def failed(span: trace.Span) -> None:
    span.set_status(Status(StatusCode.ERROR, "it broke"))
    span.set_status(StatusCode.OK)
    span.set_status(StatusCode.ERROR, "too late")


def raising(span: trace.Span) -> None:
    with pytest.raises(ValueError, match="why"), trace.use_span(span, record_exception=True):
        raise ValueError("why")


def ended(tracer: trace.Tracer, work: Work, taken: list[ReadableSpan]) -> Any:
    """The span as the collector gets it, without its own id and times."""
    span = tracer.start_span(
        "name", Propagator().extract(PARENT), SpanKind.CLIENT, {"first": "x"}, start_time=1
    )
    work(span)
    span.end(99)
    span.end(100)  # has no effect
    if not taken:
        taken.append(span)  # type: ignore[arg-type]
    assert len(taken) == 1
    request = ExportTraceServiceRequest.FromString(SpanEncoder().encode(taken))
    (found,) = request.resource_spans[0].scope_spans[0].spans
    found.span_id = b""
    found.attributes.sort(key=lambda pair: pair.key)
    for event in found.events:
        event.time_unix_nano = 0
        for pair in event.attributes:
            if pair.key == "exception.stacktrace":
                pair.value.string_value = ""
    return request


@pytest.mark.parametrize("work", [plain, with_events, failed, raising])
def test_it_is_exported_as_the_sdks_own_span(work: Work) -> None:
    taken: list[ReadableSpan] = []
    light = LightTracer(PROVIDER, "test", taken.append)
    assert ended(light, work, taken) == ended(PROVIDER.get_tracer("test"), work, [])


def test_spans_do_not_share_their_events() -> None:
    light = LightTracer(PROVIDER, "test", lambda span: None)
    one, other = (light.start_span("x", Propagator().extract(PARENT)) for _ in range(2))
    one.add_event("only here")
    assert isinstance(one, Span)
    assert isinstance(other, Span)
    assert (len(one.events), len(other.events)) == (1, 0)


def test_the_sdk_starts_spans_that_need_its_sampler_or_links() -> None:
    light = LightTracer(PROVIDER, "test", lambda span: None)
    assert isinstance(light.start_span("x", Propagator().extract(PARENT)), LightSpan)
    unsampled = Propagator().extract({"traceparent": PARENT["traceparent"][:-2] + "00"})
    assert not light.start_span("x", unsampled).is_recording()
    assert not isinstance(light.start_span("x", Context()), LightSpan)
    links = [Link(SpanContext(5, 6, True))]
    assert not isinstance(
        light.start_span("x", Propagator().extract(PARENT), links=links), LightSpan
    )
    tenth = TracerProvider(TraceIdRatioBased(0.1), shutdown_on_exit=False)
    sampled = LightTracer(tenth, "test", lambda span: None)
    assert not sampled.start_span("x", Propagator().extract(PARENT)).is_recording()


@given(
    st.dictionaries(
        st.sampled_from(["traceparent", "tracestate", "x"]),
        st.from_regex(r"0?0-[0-9a-f]{31,33}-[0-9a-f]{15,17}-0[0-9a](-x)?", fullmatch=True)
        | st.sampled_from([PARENT["traceparent"], "", "a=b", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"]),
    )
)  # fmt: skip
def test_headers_are_read_and_written_as_the_library_does(headers: dict[str, str]) -> None:
    own, library = Propagator(), TraceContextTextMapPropagator()
    caller, expected = (
        trace.get_current_span(each.extract(headers)).get_span_context() for each in (own, library)
    )
    assert caller == expected
    assert caller.trace_state == expected.trace_state
    context = trace.set_span_in_context(NonRecordingSpan(caller))
    written: list[dict[str, str]] = [{}, {}]
    for each, carrier in zip((own, library), written, strict=True):
        each.inject(carrier, context)
    assert written[0] == written[1]

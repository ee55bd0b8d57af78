"""Spans at a tenth of the SDK's cost, for the usual case: the trace is sampled already, and the span has no links.

A span of the SDK has a lock of its own, checks each attribute, and is copied at its end. The spans of a service
belong to one thread, and their attributes are plain values of the service's own code, so none of this is needed.
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time_ns
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import Link, SpanContext, SpanKind, Status
from opentelemetry.util.types import AnyValue, Attributes

Take = Callable[[ReadableSpan], None]


class LightSpan(Span):
    """A recording span, passed to `take` at its end. Its attributes must be texts, numbers or booleans.

    Events are rare, so the SDK's own code keeps them.
    """

    # the SDK's fields, with one value for all spans until an event needs its own
    _events: Sequence[Any] = ()
    _links: Sequence[Any] = ()
    _limits = SpanLimits()
    _lock = threading.Lock()
    _status = Status()
    _end_time: int | None = None
    _instrumentation_info = None
    _record_exception = _set_status_on_exception = True

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext,
        kind: SpanKind,
        attributes: Attributes,
        start_time: int,
        take: Take,
        tracer: Tracer,
    ) -> None:
        self._name = name
        self._context = context
        self._parent = parent
        self._kind = kind
        self._attributes: dict[str, Any] = dict(attributes) if attributes else {}
        self._start_time = start_time
        self._take = take
        self._resource: Resource = tracer.resource
        self._instrumentation_scope = tracer._instrumentation_scope

    def is_recording(self) -> bool:
        return self._end_time is None

    def set_attribute(self, key: str, value: AnyValue) -> None:
        self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        self._attributes.update(attributes)

    def update_name(self, name: str) -> None:
        self._name = name

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        if not self._events:
            self._events = self._new_events()  # type: ignore[no-untyped-call]
        super().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if not self._links:
            self._links = self._new_links(())
        super().add_link(context, attributes)

    def end(self, end_time: int | None = None) -> None:
        if self._end_time is None:
            self._end_time = end_time or time_ns()
            self._take(self)


class LightTracer(trace.Tracer):
    """Starts light spans below a sampled parent, for `take`. The SDK's tracer starts all others."""

    def __init__(self, provider: TracerProvider, name: str, take: Take | None) -> None:
        tracer = provider.get_tracer(name)
        # without a parent's decision to follow, the SDK must ask the sampler
        follows = isinstance(tracer, Tracer) and isinstance(provider.sampler, ParentBased)
        self._tracer = tracer
        self._take = take if follows else None

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        parent = trace.get_current_span(context).get_span_context()
        take, tracer = self._take, self._tracer
        if take is None or links or not (parent.is_valid and parent.trace_flags.sampled):
            return tracer.start_span(
                name, context, kind, attributes, links, start_time,
                record_exception, set_status_on_exception,
            )  # fmt: skip
        assert isinstance(tracer, Tracer)
        return LightSpan(
            name, child_context(parent), parent, kind, attributes, start_time or time_ns(), take, tracer
        )  # fmt: skip

    @contextmanager
    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span


def child_context(parent: SpanContext) -> SpanContext:
    """The context of a new span in the parent's trace."""
    span_id = random.getrandbits(64) or 1
    return SpanContext(parent.trace_id, span_id, False, parent.trace_flags, parent.trace_state)

"""The signals of a service: traces by OTLP, RED metrics for Prometheus, JSON logs with trace ids."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.trace import Status, StatusCode
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chassis.settings import Settings
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.light_spans import LightTracer, child_context
from chassis.telemetry.metrics import counter, expose, gauge
from chassis.telemetry.propagation import Propagator
from chassis.telemetry.span_export import SpanExporter

SERVER_SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "Duration of HTTP server requests",
    ("http_request_method", "http_route", "http_response_status_code"),
)
CLIENT_SECONDS = Histogram(
    "http_client_request_duration_seconds",
    "Duration of HTTP client attempts",
    ("edge", "http_request_method", "http_route", "http_response_status_code", "error_type"),
)
CONNECTIONS = counter(
    "connections_opened", "TCP connections opened to an instance or to PostgreSQL", ("peer",)
)
ACTIVE = gauge("http_server_active_requests", "Requests in progress")
POLICY_EVENTS = counter(
    "resilience_events", "Decisions of resilience policies", ("edge", "policy", "kind", "reason")
)
BREAKER_STATE = gauge(
    "breaker_state", "State of the breaker: 0 closed, 1 half_open, 2 open", ("edge",)
)
TARGET_INFO = gauge(
    "target_info",
    "The OpenTelemetry resource",
    ("service_name", "service_instance_id", "service_version", "breakwater_arm"),
)


class _ExportCounts(Collector):
    """The counts of the span exporter, read at each scrape."""

    export: SpanExporter | None = None

    def collect(self) -> Iterable[Metric]:
        if self.export is None:
            return
        spans = CounterMetricFamily(
            "telemetry_spans", "Ended spans by result of their export", labels=("result",)
        )
        for result in ("exported", "dropped", "failed"):
            spans.add_metric([result], getattr(self.export, result))
        yield spans
        yield GaugeMetricFamily(
            "telemetry_spans_queued", "Spans waiting for export", self.export.queued
        )


_export_counts = _ExportCounts()
propagator = Propagator()
_encode = json.JSONEncoder(default=str).encode  # json.dumps would create an encoder for each line
_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "taskName"}


_UNSET, _FAILED = Status(), Status(StatusCode.ERROR)
_tracer: trace.Tracer = trace.NoOpTracer()


def tracer() -> trace.Tracer:
    """The tracer of the process. It records after `start`."""
    return _tracer


class StoreSpan(NamedTuple):
    """The start of a store's use; `end_span` makes a span of it."""

    name: str
    attributes: Mapping[str, str]
    parent: Span
    start_ns: int


def store_span(name: str, attributes: Mapping[str, str]) -> StoreSpan | None:
    """Start a span for work on a server, to be ended by `end_span`. It does not become the current span.

    None outside a trace: background polling would create many traces a second. Nothing is added to such a span
    while it runs, so the span object is created at its end, at a tenth of the cost of a live span. More than a
    third of the sixty spans of an order are of this kind.
    """
    parent = trace.get_current_span()
    if not (isinstance(parent, Span) and parent.is_recording()):
        return None
    return StoreSpan(name, attributes, parent, time.time_ns())


def end_span(begun: StoreSpan | None, *, failed: bool = False) -> None:
    """End a span that `store_span` started; does nothing for None."""
    export = _export_counts.export
    if begun is None or export is None:
        return
    name, attributes, parent, start_ns = begun
    within = parent.context
    export.on_end(
        ReadableSpan(
            name,
            child_context(within),
            within,
            parent.resource,
            attributes,
            kind=trace.SpanKind.CLIENT,
            status=_FAILED if failed else _UNSET,
            start_time=start_ns,
            end_time=time.time_ns(),
            instrumentation_scope=parent.instrumentation_scope,
        )
    )


class CurrentSpan:
    """Makes a span current during a `with` block. `trace.use_span` takes twice the time."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = otel_context.attach(trace.set_span_in_context(self._span))

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._token)


def trace_headers() -> dict[str, str]:
    """The current span as a `traceparent` header."""
    headers: dict[str, str] = {}
    propagator.inject(headers)
    return headers


class JsonFormatter(logging.Formatter):
    """One JSON object per line. Fields given by `extra=` are added beside the message."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._static = {
            "service": settings.service,
            "instance": settings.instance,
            "arm": settings.arm,
        }

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"time": record.created, "level": record.levelname.lower()}
        line |= self._static
        line["message"] = record.getMessage()
        line |= _trace_ids()
        for key, value in record.__dict__.items():
            if key not in _STANDARD_FIELDS:
                line[key] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)

    def record(self, event: str, fields: dict[str, Any]) -> str:
        """The line of an event for the run's archive."""
        line: dict[str, Any] = {"time": time.time(), "level": "info", **self._static}
        line["message"] = event
        return _encode(line | _trace_ids() | {"event": event} | fields)


def _trace_ids() -> dict[str, str]:
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


_formatter: JsonFormatter | None = None


def record(event: str, **fields: Any) -> None:
    """Write an event line for the run's archive (docs/architecture.md, "What a service emits").

    It does not use `logging`, which takes twice the time: a breaker writes such a line for each call.
    """
    if _formatter is not None:
        # a closed stdout must not fail the request; `logging` ignores it too
        with suppress(OSError, ValueError):
            sys.stdout.write(_formatter.record(event, fields) + "\n")
            sys.stdout.flush()


def start(settings: Settings) -> TracerProvider:
    """Start logging to stdout, and tracing to the OTLP endpoint if there is one.

    The SDK's environment variables apply: OTEL_TRACES_SAMPLER with its _ARG, and OTEL_SDK_DISABLED=true.
    The latter also switches off the archive's event lines and all log lines below a warning.
    """
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    handler = logging.StreamHandler(sys.stdout)
    global _formatter, _tracer
    formatter = JsonFormatter(settings)
    _formatter = None if disabled else formatter
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING if disabled else logging.INFO)
    for noisy in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(noisy)
        logger.handlers.clear()
        # without a handler to reach, uvicorn does not prepare a line for each request
        logger.propagate = noisy != "uvicorn.access"
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)

    resource = {
        "service.name": settings.service,
        "service.instance.id": settings.instance,
        "service.version": settings.version,
        "breakwater.arm": settings.arm,
    }
    TARGET_INFO.labels(*resource.values()).set(1)
    expose(TARGET_INFO, SERVER_SECONDS, ACTIVE, CLIENT_SECONDS, CONNECTIONS)
    expose(POLICY_EVENTS, BREAKER_STATE)
    provider = TracerProvider(resource=Resource(resource), shutdown_on_exit=False)
    export = None
    if settings.otlp_endpoint and not disabled:
        export = SpanExporter(f"{settings.otlp_endpoint}/v1/traces", settings.otlp_token)
        provider.add_span_processor(export)
        _export_counts.export = export
        expose(_export_counts)
    _tracer = LightTracer(provider, "breakwater.chassis", export.on_end if export else None)
    propagate.set_global_textmap(propagator)
    return provider

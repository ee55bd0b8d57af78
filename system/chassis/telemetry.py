"""What a service tells: traces by OTLP, RED metrics for Prometheus, JSON logs with trace ids."""

import json
import logging
import sys
import time
from contextlib import suppress
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram

from chassis.settings import Settings

# From 1 ms to 10 s: an in-process answer to a caller's patience.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

SERVER_SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "Duration of HTTP server requests",
    ("http_request_method", "http_route", "http_response_status_code"),
    buckets=BUCKETS_S,
)
CLIENT_SECONDS = Histogram(
    "http_client_request_duration_seconds",
    "Duration of HTTP client attempts",
    ("edge", "http_request_method", "http_route", "http_response_status_code", "error_type"),
    buckets=BUCKETS_S,
)
ACTIVE = Gauge("http_server_active_requests", "Requests being handled")
POLICY_EVENTS = Counter(
    "resilience_events", "Decisions of resilience policies", ("edge", "policy", "kind", "reason")
)
BREAKER_STATE = Gauge("breaker_state", "0 closed, 1 half_open, 2 open", ("edge",))

propagator = TraceContextTextMapPropagator()
_encode = json.JSONEncoder(default=str).encode  # json.dumps would make a new one for each line
_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "taskName"}


_tracer: trace.Tracer = trace.NoOpTracer()


def tracer() -> trace.Tracer:
    """The process's tracer; recording once `start` has run."""
    return _tracer


def trace_headers() -> dict[str, str]:
    """The current span as a `traceparent` header, to send or to store with a row."""
    headers: dict[str, str] = {}
    propagator.inject(headers)
    return headers


class JsonFormatter(logging.Formatter):
    """One JSON object a line; fields given by `extra=` stand beside the message."""

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
        """The line of an event for the archive."""
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
    """An event line for the run's archive (docs/architecture.md, "What a service tells").

    Written at once and not by way of logging, which costs twice the time: breakers tell one a call.
    """
    if _formatter is not None:
        # nobody may fail because nobody reads: logging thinks the same
        with suppress(OSError, ValueError):
            sys.stdout.write(_formatter.record(event, fields) + "\n")
            sys.stdout.flush()


def start(settings: Settings) -> TracerProvider:
    """Logging to stdout and tracing to the OTLP endpoint, if there is one."""
    handler = logging.StreamHandler(sys.stdout)
    global _formatter, _tracer
    _formatter = JsonFormatter(settings)
    handler.setFormatter(_formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(noisy)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)

    provider = TracerProvider(
        resource=Resource(
            {
                "service.name": settings.service,
                "service.instance.id": settings.instance,
                "service.version": settings.version,
                "breakwater.arm": settings.arm,
            }
        ),
        shutdown_on_exit=False,
    )
    if settings.otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        # a dead or slow collector must not slow the shop: bounded queue, short timeout, drop
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint}/v1/traces", timeout=2)
        provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=8192, schedule_delay_millis=500)
        )
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    _tracer = provider.get_tracer("breakwater.chassis")
    propagate.set_global_textmap(propagator)
    return provider

"""A dead, slow or failing collector never makes a service wait for the export of spans."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Tracer

import chassis.telemetry.span_export as export_module
from chassis.telemetry.otlp_encoder import SpanEncoder
from chassis.telemetry.span_export import SpanExporter
from tests.fixtures.servers import free_port
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.slow


class Collector:
    """A real HTTP server; answers with `status`, and holds each request until `go_on` is set."""

    def __init__(self, port: int) -> None:
        self.status = 200
        self.names: list[str] = []
        self.tokens: set[str | None] = set()
        self.bodies: list[bytes] = []
        self.requests = 0
        self.go_on = threading.Event()
        self.go_on.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests += 1
                collector.tokens.add(self.headers["Authorization"])
                collector.go_on.wait(20)
                if collector.status == 200:
                    collector.bodies.append(body)
                    collector.names += names_in(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


def names_in(body: bytes) -> list[str]:
    request = ExportTraceServiceRequest.FromString(body)
    scopes = [scope for group in request.resource_spans for scope in group.scope_spans]
    return [span.name for scope in scopes for span in scope.spans]


@contextmanager
def exporting(
    port: int, queue_max: int = 8192, token: str = ""
) -> Iterator[tuple[SpanExporter, Tracer]]:
    export = SpanExporter(f"http://127.0.0.1:{port}/v1/traces", token, queue_max=queue_max)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export)
    try:
        yield export, provider.get_tracer("test")
    finally:
        provider.shutdown()


@contextmanager
def collecting(port: int) -> Iterator[Collector]:
    collector = Collector(port)
    try:
        yield collector
    finally:
        collector.close()


def end_spans(tracer: Tracer, count: int) -> None:
    for number in range(count):
        tracer.start_span(f"span {number}").end()


def test_every_span_arrives_once_and_in_order() -> None:
    port = free_port()
    with collecting(port) as collector, exporting(port) as (export, tracer):
        end_spans(tracer, 1500)
        wait_until(lambda: export.exported == 1500, "1500 exported")
        assert collector.names == [f"span {number}" for number in range(1500)]
        assert collector.requests < 10, "in batches"
        assert (export.dropped, export.failed, export.queued) == (0, 0, 0)


@pytest.mark.parametrize(("token", "sent"), [("secret", "Bearer secret"), ("", None)])
def test_spans_are_sent_with_the_token(token: str, sent: str | None) -> None:
    port = free_port()
    with collecting(port) as collector, exporting(port, token=token) as (export, tracer):
        end_spans(tracer, 1)
        wait_until(lambda: export.exported == 1, "one exported")
        assert collector.tokens == {sent}


def test_the_thread_is_not_woken_while_there_is_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[int] = []
    pack = SpanExporter._pack

    def counting(self: SpanExporter, stopping: bool) -> None:
        rounds.append(len(self._queue))
        pack(self, stopping)

    monkeypatch.setattr(SpanExporter, "_pack", counting)
    monkeypatch.setattr(export_module, "PERIOD_S", 0.01)
    port = free_port()
    with collecting(port) as collector, exporting(port) as (export, tracer):
        for number in range(1, 4):
            time.sleep(0.1)  # ten periods
            end_spans(tracer, 1)
            wait_until(lambda number=number: export.exported == number, "exported")  # type: ignore[misc]
        assert len(rounds) <= 2 * 3, "at most an empty one after each span"
        assert len(collector.names) == 3


def test_a_dead_collector_costs_no_time_and_only_spans_beyond_the_queue() -> None:
    port = free_port()
    with exporting(port, queue_max=100) as (export, tracer):
        began = time.thread_time()  # of this thread: the cost for a request
        end_spans(tracer, 2000)
        took_s = time.thread_time() - began
        assert export.queued == 100
        assert export.dropped == 1900
        began = time.thread_time()
        end_spans(TracerProvider(shutdown_on_exit=False).get_tracer("test"), 2000)
        assert took_s < 5 * (time.thread_time() - began), (
            "a span costs little more than its creation"
        )
        with collecting(port) as collector:  # the collector is back: the queued spans arrive
            wait_until(lambda: export.exported == 100, "100 exported")
            assert collector.names == [f"span {number}" for number in range(100)]


def test_while_the_collector_is_dead_no_span_is_encoded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[int] = []
    sent: list[int] = []
    encode, post = SpanEncoder.encode, SpanExporter._post

    def counting(self: SpanEncoder, spans: list[ReadableSpan]) -> bytes:
        encoded.append(len(spans))
        return encode(self, spans)

    def posting(self: SpanExporter, body: bytes) -> int:
        sent.append(len(body))
        return post(self, body)

    monkeypatch.setattr(SpanEncoder, "encode", counting)
    monkeypatch.setattr(SpanExporter, "_post", posting)
    monkeypatch.setattr(export_module, "RETRY_S", 0.05)
    with exporting(free_port()) as (_, tracer):
        end_spans(tracer, 10)
        wait_until(lambda: len(sent) >= 4, "four requests")
        assert encoded == [10]


def test_a_collector_that_never_answers_delays_neither_work_nor_shutdown() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # accepts connections, never answers
        exporting(silent.getsockname()[1], queue_max=50) as (export, tracer),
    ):
        end_spans(tracer, 200)
        assert (export.queued, export.dropped) == (50, 150)


def test_rejected_spans_are_counted_and_not_sent_again() -> None:
    port = free_port()
    with collecting(port) as collector, exporting(port) as (export, tracer):
        collector.status = 400
        end_spans(tracer, 10)
        wait_until(lambda: export.failed == 10, "10 failed")
        collector.status = 200
        end_spans(tracer, 1)
        wait_until(lambda: export.exported == 1, "1 exported")
        assert collector.names == ["span 0"]


def test_a_batch_that_cannot_be_encoded_is_counted_and_later_ones_are_sent() -> None:
    port = free_port()
    with collecting(port) as collector, exporting(port) as (export, tracer):
        span = tracer.start_span("x")
        span.add_event("\ud800")  # cannot be encoded
        span.end()
        wait_until(lambda: export.failed == 1, "1 failed")
        end_spans(tracer, 1)
        wait_until(lambda: export.exported == 1, "1 exported")
        assert (collector.names, export.queued) == (["span 0"], 0)


def test_an_overloaded_collector_gets_its_spans_later() -> None:
    port = free_port()
    with collecting(port) as collector, exporting(port) as (export, tracer):
        collector.status = 503
        end_spans(tracer, 10)
        wait_until(lambda: collector.requests > 0, "a request")
        collector.status = 200
        wait_until(lambda: export.exported == 10, "10 exported")
        assert export.failed == export.dropped == 0


def test_queued_spans_are_sent_at_shutdown() -> None:
    port = free_port()
    with collecting(port) as collector:
        with exporting(port) as (_, tracer):
            end_spans(tracer, 700)
        assert len(collector.names) == 700

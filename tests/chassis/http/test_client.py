"""Calls to another service, seen by the caller: damaged answers, dead instances, retries and hedges."""

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import REGISTRY

from chassis.edge_policies.protection import EdgeProtection
from chassis.http.client import ServiceClient
from chassis.http.connections import CONNECT_S
from chassis.registry import Instance
from chassis.resilience.breaker import Breaker
from chassis.resilience.errors import CallError, OverloadedError
from chassis.telemetry import signals
from tests.chassis.echo import Echo
from tests.fixtures.waiting import wait_until_async

CORRUPT = {"kind": "corrupt", "attributes": {"flips": 200}}
DAMAGED = [
    {**CORRUPT, "point": "outbound"},
    {**CORRUPT, "point": "inbound"},
    {"kind": "truncate", "attributes": {"keep_bytes": 9}, "point": "inbound"},
]


def the_client(echo: Echo) -> ServiceClient:
    client = echo.service.clients["echo"]
    client.protection.use("breaker")
    client.protection.switch("retry", False)
    return client


def the_breaker(client: ServiceClient) -> Breaker:
    breaker = client.protection.breaker
    assert breaker is not None
    return breaker


@pytest.mark.parametrize("fault", DAMAGED, ids=str)
async def test_a_damaged_answer_is_an_indefinite_failure_that_the_breaker_counts(
    echo: Echo, fault: dict[str, Any]
) -> None:
    client = the_client(echo)
    await echo.service.injector.add({**fault, "scope": {"route": "/echo"}, "ttl_s": 30, "seed": 7})
    with pytest.raises(CallError) as caught:
        await client.get("/echo")
    assert (caught.value.definite, caught.value.retryable) == (False, True)
    live = the_breaker(client).snapshot()
    assert (live["n"], live["failures"]) == (1, 1)


async def test_a_silent_host_is_a_definite_failure_long_before_the_timeout_of_the_attempt(
    echo: Echo, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = the_client(echo)
    gone = Instance("echo", "echo-2", f"127.0.0.1:{silent_port}")
    monkeypatch.setattr(client, "_instances", lambda _service: [gone])
    began = time.monotonic()
    with pytest.raises(CallError) as caught:
        await client.get("/echo")
    took_s = time.monotonic() - began
    assert took_s >= CONNECT_S * 0.9
    # a failure by the timeout of the attempt would be indefinite
    assert (caught.value.definite, caught.value.retryable) == (True, True)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that does not answer: its queue of connections is full, so the kernel drops new ones."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(200):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(server.getsockname())
            except TimeoutError:
                yield server.getsockname()[1]
                return
        pytest.skip("this kernel does not limit the queue of connections")


async def test_a_damaged_error_answer_is_indefinite_too(echo: Echo) -> None:
    client = the_client(echo)
    await echo.service.injector.add({**DAMAGED[0], "ttl_s": 30, "seed": 7})
    with pytest.raises(CallError) as caught:
        await client.get("/nowhere")  # a 404 without the fault
    assert not caught.value.definite


async def test_an_answer_that_is_not_json_is_not_changed(echo: Echo) -> None:
    answer = await the_client(echo).get("/metrics")
    assert answer.status == 200
    assert answer.content.startswith(b"#")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch, echo: Echo) -> InMemorySpanExporter:
    seen = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen))
    monkeypatch.setattr(signals, "_tracer", provider.get_tracer("test"))
    return seen


def sent(spans: InMemorySpanExporter) -> list[dict[str, Any]]:
    """The attributes of the spans of calls, in the order of their end."""
    ended = [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    return [dict(span.attributes or {}) for span in ended]


async def test_every_attempt_has_its_own_span(echo: Echo, spans: InMemorySpanExporter) -> None:
    client = echo.service.clients["echo"]
    client.protection.use("retries")
    fault = {"kind": "abort", "attributes": {"status": 503}, "point": "outbound"}
    await echo.service.injector.add({**fault, "scope": {"first_n": 1}, "ttl_s": 30})
    assert (await client.get("/health")).status == 200
    first, second = sent(spans)
    assert (first["breakwater.attempt"], second["breakwater.attempt"]) == (1, 2)
    assert (first["error.type"], first["http.response.status_code"]) == ("CallFailed", 503)
    assert "error.type" not in second
    assert first["breakwater.peer.instance"] == "echo-1"


async def test_both_copies_of_a_hedged_call_have_spans_and_the_slower_one_is_marked_as_cancelled(
    echo: Echo, spans: InMemorySpanExporter
) -> None:
    client = echo.service.clients["echo"]
    client.protection = EdgeProtection("gateway->products", "full")
    fault = {"kind": "latency", "attributes": {"latency_ms": 5000}, "point": "outbound"}
    await echo.service.injector.add({**fault, "scope": {"first_n": 1}, "ttl_s": 30})
    assert (await client.get("/health")).status == 200
    await wait_until_async(lambda: len(sent(spans)) == 2, "two spans")
    assert sorted(each.get("error.type", "") for each in sent(spans)) == ["", "CancelledError"]


async def test_each_attempt_is_measured_by_its_outcome(echo: Echo) -> None:
    client = the_client(echo)
    await client.get("/health")
    labels = {
        "edge": "echo->echo", "http_request_method": "GET", "http_route": "/health",
        "http_response_status_code": "200", "error_type": "",
    }  # fmt: skip
    counted = REGISTRY.get_sample_value("http_client_request_duration_seconds_count", labels)
    assert counted


async def test_a_new_connection_is_counted_under_its_peer_and_a_reused_one_is_not(
    echo: Echo,
) -> None:
    client = the_client(echo)

    def opened() -> float:
        labels = {"peer": echo.service.settings.instance}
        return REGISTRY.get_sample_value("connections_opened_total", labels) or 0.0

    await client.get("/health")
    first = opened()
    assert first
    await client.get("/health")
    assert opened() == first


@pytest.mark.parametrize(("status", "fails"), [(429, False), (503, False), (500, True)])
async def test_a_callee_that_sheds_does_not_open_the_breaker(
    echo: Echo, status: int, fails: bool
) -> None:
    client = the_client(echo)
    with pytest.raises(CallError) as caught:
        await client.get(f"/shed/{status}")
    assert isinstance(caught.value, OverloadedError) is not fails
    live = the_breaker(client).snapshot()
    assert (live["n"], live["failures"]) == (int(fails), int(fails))

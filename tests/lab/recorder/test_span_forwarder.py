"""Spans are forwarded to Jaeger; a dead or hanging Jaeger delays nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from lab.recorder.span_forwarder import SpanForwarder
from tests.fixtures.waiting import wait_until_async
from tests.lab.recorder.intake.test_otlp_spans import OTLP_JSON
from tests.lab.recorder.recorder_process import TOKENS, RecorderProcess, rows

BODY = json.dumps(OTLP_JSON).encode()
JSON = {"content-type": "application/json"}


class Jaeger:
    """Accepts spans as Jaeger does; stores the bodies and answers after `takes_s`."""

    def __init__(self) -> None:
        self.bodies: list[tuple[bytes, str]] = []
        self.takes_s = 0.0
        self.status = 200
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append((await request.read(), request.headers.get("Content-Encoding", "")))
        await asyncio.sleep(self.takes_s)  # a Jaeger that hangs
        return web.Response(status=self.status)


@pytest.fixture
async def jaeger() -> AsyncIterator[Jaeger]:
    taker = Jaeger()
    app = web.Application()
    app.router.add_post("/v1/traces", taker.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    taker.url = f"http://127.0.0.1:{port}"
    yield taker
    await runner.cleanup()


def a_dead_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_a_body_is_forwarded_unchanged_with_its_encoding(jaeger: Jaeger) -> None:
    forwarder = SpanForwarder(lambda: jaeger.url)
    forwarder.offer(b"packed", {"content-type": "application/x-protobuf", "content-encoding": "x"})
    await wait_until_async(lambda: forwarder.sent == 1, "a sent body")
    await forwarder.close()
    assert jaeger.bodies == [(b"packed", "x")]


async def test_without_jaeger_nothing_is_queued() -> None:
    forwarder = SpanForwarder(lambda: "")
    forwarder.offer(BODY, JSON)
    assert forwarder.counts() == {"sent": 0, "shed": 0, "pending": 0}
    await forwarder.close()


async def test_bodies_for_a_dead_jaeger_are_shed_and_counted() -> None:
    address = a_dead_address()
    forwarder = SpanForwarder(lambda: address)
    for _ in range(3):
        forwarder.offer(BODY, JSON)
    await wait_until_async(lambda: forwarder.shed == 3, "three shed bodies")
    await forwarder.close()
    assert forwarder.sent == 0


async def test_bodies_that_jaeger_refuses_are_shed_and_counted(jaeger: Jaeger) -> None:
    jaeger.status = 503
    forwarder = SpanForwarder(lambda: jaeger.url)
    forwarder.offer(BODY, JSON)
    await wait_until_async(lambda: forwarder.shed == 1, "a shed body")
    await forwarder.close()


async def test_a_hanging_jaeger_costs_bounded_memory_and_no_time(jaeger: Jaeger) -> None:
    jaeger.takes_s = 60.0
    forwarder = SpanForwarder(lambda: jaeger.url, pending_bytes_max=10_000, timeout_s=30.0)
    for _ in range(1000):
        forwarder.offer(b"x" * 1000, JSON)  # returns without a turn of the event loop
    assert forwarder.counts() == {"sent": 0, "shed": 990, "pending": 10}
    await forwarder.close()
    assert forwarder.shed >= 999  # one was being sent


async def test_after_a_restart_of_jaeger_spans_arrive_again(jaeger: Jaeger) -> None:
    address = a_dead_address()
    forwarder = SpanForwarder(lambda: address)
    forwarder.offer(BODY, JSON)
    await wait_until_async(lambda: forwarder.shed == 1, "a shed body")
    address = jaeger.url
    forwarder.offer(BODY, JSON)
    await wait_until_async(lambda: forwarder.sent == 1, "a sent body")
    await forwarder.close()


async def test_the_recorder_answers_and_records_while_jaeger_hangs(
    recorder: RecorderProcess, jaeger: Jaeger, tmp_path: Path
) -> None:
    jaeger.takes_s = 60.0
    lab = TOKENS | {"addresses": {"jaeger_otlp": jaeger.url}}
    (recorder.lab_dir / "lab.json").write_text(json.dumps(lab))

    def post() -> None:
        """Fails after 10 s, long before Jaeger answers."""
        status, _ = recorder.call("POST", "/v1/traces", BODY, Content_Type="application/json")
        assert status == 200

    await asyncio.to_thread(recorder.start, tmp_path / "run")
    for _ in range(20):
        await asyncio.to_thread(post)
    await wait_until_async(lambda: jaeger.bodies, "a body at Jaeger")
    assert jaeger.bodies[0][0] == BODY
    await asyncio.to_thread(recorder.stop)
    assert len(rows(tmp_path / "run", "spans")) == 20

"""Real observability programs for the tests of their configuration, where they are installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from lab.topology import PROJECT
from tests.fixtures.waiting import wait_until

DEPLOY = PROJECT / "system" / "deploy"


def free_ports(count: int) -> list[int]:
    """This many free ports."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def get(url: str) -> Any:
    """The JSON (or else the text) at a URL; OSError while there is none."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        body = answer.read().decode()
    with suppress(ValueError):
        return json.loads(body)
    return body


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    """The condition's first true value; no answer, or an answer without the key, counts as false."""
    return wait_until(condition, what, timeout_s, not_yet=(OSError, KeyError))


@contextmanager
def running(
    argv: Sequence[str | Path], env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A server for the length of a test; its words are printed if the test fails."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, env={**os.environ, **env}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        print(f"{log.name}:\n{log.read_text(errors='replace')[-4000:]}")


def program(variable: str, *names: str) -> str:
    """The program a variable names, else the first of `names` on PATH; skips the test without one."""
    for name in (os.environ.get(variable, ""), *names):
        if name and (found := shutil.which(name)):
            return found
    pytest.skip(f"no {names[0]} on PATH, and {variable} names none")


class Jaeger:
    """A running Jaeger: `url` its API, `otlp` where it takes spans."""

    def __init__(self, page: int, otlp: int) -> None:
        self.url = f"http://127.0.0.1:{page}"
        self.otlp = f"http://127.0.0.1:{otlp}"

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """Of one trace, none while it is not there (Jaeger answers 404)."""
        try:
            found: list[dict[str, Any]] = get(f"{self.url}/api/traces/{trace_id}")["data"]
        except OSError:
            return []
        return found[0]["spans"] if found else []

    def dependencies(self) -> dict[tuple[str, str], int]:
        """Calls by (caller, callee), without a service's calls of itself."""
        now_ms = int(time.time() * 1000) + 1000
        query = f"endTs={now_ms}&lookback=3600000"
        found = get(f"{self.url}/api/dependencies?{query}")["data"] or []
        edges = {(each["parent"], each["child"]): each["callCount"] for each in found}
        return {edge: count for edge, count in edges.items() if edge[0] != edge[1]}


def tell_order(otlp: str) -> str:
    """Send one trace as three services would: gateway calls orders, orders the bank; its id."""
    tracers = {}
    for name in ("gateway", "orders", "bank"):
        provider = TracerProvider(resource=Resource({"service.name": name}))
        exporter = OTLPSpanExporter(endpoint=f"{otlp}/v1/traces", timeout=5)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracers[name] = provider.get_tracer("test")
    edges = [(None, "gateway"), ("gateway", "orders"), ("orders", "bank")]
    context, open_spans = None, []
    for caller, callee in edges:
        if caller is not None:
            call = tracers[caller].start_span(f"call {callee}", context, kind=SpanKind.CLIENT)
            context = trace.set_span_in_context(call)
            open_spans.append(call)
        answer = tracers[callee].start_span(f"answer in {callee}", context, kind=SpanKind.SERVER)
        answer.set_attribute("http.route", f"/{callee}")
        context = trace.set_span_in_context(answer)
        open_spans.append(answer)
    for span in reversed(open_spans):
        span.end()
    return format(open_spans[0].get_span_context().trace_id, "032x")

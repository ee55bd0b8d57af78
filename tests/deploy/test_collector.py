"""A real OpenTelemetry Collector on the configuration of system/deploy, between services and recorder."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.archive import Run
from tests.deploy.observability import (
    DEPLOY,
    Jaeger,
    free_ports,
    get,
    program,
    running,
    tell_order,
    until,
)

TOKEN, SIGNALS_TOKEN = "a token for this test", "a token for signals"
PROJECT = DEPLOY.parents[1]


@dataclass
class Collector:
    otlp: str
    metrics: str
    own_metrics: str
    run_dir: Path

    def spans(self, trace_id: str) -> list[str]:
        """Names of the recorded spans of a trace."""
        found = Run(self.run_dir).sql("SELECT name FROM spans WHERE trace_id = ?", [trace_id])
        return [name for (name,) in found.fetchall()]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[str]:
    """A recording recorder; its address. It writes into `run`."""
    (port,) = free_ports(1)
    (tmp_path / "lab" / "logs").mkdir(parents=True)
    tokens = {"token": TOKEN, "signals_token": SIGNALS_TOKEN}
    (tmp_path / "lab" / "lab.json").write_text(json.dumps(tokens))
    argv = [sys.executable, "-m", "lab.recorder", "--port", str(port)]
    argv += ["--lab-dir", str(tmp_path / "lab")]
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "system")])
    with running(argv, {"PYTHONPATH": path}, tmp_path / "recorder.log"):
        url = f"http://127.0.0.1:{port}"
        until(lambda: get(f"{url}/health"), "the recorder answers")
        _record(url, tmp_path / "run")
        yield url


def _record(url: str, run_dir: Path) -> None:
    request = urllib.request.Request(
        f"{url}/recording",
        json.dumps({"run_dir": str(run_dir)}).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 201


@pytest.fixture
def collector(recorder: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Collector]:
    """Between a recorder and a Jaeger: the session's, or none with the parameter `dead`."""
    binary = program("LAB_OTELCOL", "otelcol-contrib", "otelcol")
    otlp, metrics, own, health, dead = free_ports(5)
    jaeger = f"http://127.0.0.1:{dead}"
    if getattr(request, "param", "") != "dead":
        jaeger = request.getfixturevalue("jaeger").otlp
    env = {
        **{"COLLECTOR_HOST": "127.0.0.1", "COLLECTOR_OTLP_PORT": str(otlp)},
        **{"COLLECTOR_METRICS_PORT": str(metrics), "COLLECTOR_SELF_PORT": str(own)},
        **{"COLLECTOR_HEALTH_PORT": str(health)},
        **{"RECORDER_OTLP": recorder, "JAEGER_OTLP_URL": jaeger},
        "SIGNALS_TOKEN": SIGNALS_TOKEN,
    }
    argv: list[str | Path] = [binary, "--config", DEPLOY / "otel-collector.yaml"]
    with running(argv, env, tmp_path / "collector.log"):
        until(lambda: get(f"http://127.0.0.1:{health}/status"), "the collector answers")
        urls = [f"http://127.0.0.1:{port}" for port in (otlp, metrics, own)]
        yield Collector(urls[0], f"{urls[1]}/metrics", f"{urls[2]}/metrics", tmp_path / "run")


def test_spans_reach_the_recorder_and_jaeger(collector: Collector, jaeger: Jaeger) -> None:
    trace_id = tell_order(collector.otlp)
    assert until(
        lambda: len(found := collector.spans(trace_id)) == 5 and found, "five spans in the recorder"
    )
    assert until(lambda: len(jaeger.spans(trace_id)) == 5, "five spans in Jaeger")


@pytest.mark.parametrize("collector", ["dead"], indirect=True)
def test_a_dead_jaeger_does_not_delay_spans_to_the_recorder(collector: Collector) -> None:
    ids = [tell_order(collector.otlp) for _ in range(20)]
    until(lambda: all(len(collector.spans(each)) == 5 for each in ids), "all spans of each")


@pytest.mark.parametrize("collector", ["dead"], indirect=True)
def test_every_span_counts_in_the_red_metrics_of_its_route(collector: Collector) -> None:
    tell_order(collector.otlp)

    def series_with_route() -> Any:
        text = get(collector.metrics)
        lines = [line for line in text.splitlines() if line.startswith("traces_duration_seconds_")]
        return [line for line in lines if 'http_route="/orders"' in line and "_count" in line]

    (line,) = until(series_with_route, "a count with the route")
    assert 'service_name="orders"' in line
    assert line.rpartition("}")[2].split()[0] == "1"


@pytest.mark.parametrize("collector", ["dead"], indirect=True)
def test_the_collector_counts_the_spans_that_it_could_not_forward(collector: Collector) -> None:
    tell_order(collector.otlp)

    def lost() -> float:
        lines = [
            line
            for line in get(collector.own_metrics).splitlines()
            if line.startswith("otelcol_exporter_send_failed_spans")
            and 'exporter="otlphttp/jaeger"' in line
        ]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    assert until(lost, "failed spans are counted", 30) == 5  # after the last of its tries, 10 s on

"""Runs read from a Jaeger and a Prometheus: replies of real ones, played back by a real HTTP server."""

from __future__ import annotations

import gc
import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.archive import ArchiveError, Run, jaeger
from lab.archive.tables import TABLES

RECORDED = Path(__file__).parent / "recorded"
NOTHING = b'{"error":{"httpCode":404,"message":"No traces found"}}'


class Server:
    """Answers each path with what `replies` has for it, and keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                server.asked.append((url.path, query))
                status, body = server.reply(url.path, query)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None: ...

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def reply(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        return self.replies.get(path, (404, b"404 page not found"))


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.http.serve_forever)
    thread.start()
    yield running
    running.http.shutdown()
    running.http.server_close()
    thread.join()


@pytest.fixture
def jaeger_server(server: Server) -> Server:
    server.replies = {
        "/api/v3/services": (200, (RECORDED / "jaeger_services.json").read_bytes()),
        "/api/v3/traces": (200, (RECORDED / "jaeger_traces.json").read_bytes()),
    }
    return server


def by_span(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By span id; Jaeger sorts attributes by name, so that JSON is compared as what it says."""
    for row in rows:
        row["attributes"] = json.loads(row["attributes"])
        row["events"] = json.loads(row["events"] or "null")
    return {row["span_id"]: row for row in rows}


def rows_of(run: Run, table: str) -> list[dict[str, Any]]:
    relation = run.table(table)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def test_jaegers_spans_are_those_that_the_recorder_took(jaeger_server: Server) -> None:
    run = Run.from_jaeger(jaeger_server.url, 1.0, 2.0)
    recorded = [json.loads(line) for line in (RECORDED / "spans.ndjson").open()]
    assert len(recorded) == 34
    assert any(row["events"] for row in recorded)
    assert by_span(rows_of(run, "spans")) == by_span(recorded)
    services = json.loads((RECORDED / "jaeger_services.json").read_text())["services"]
    asked = [query["query.service_name"] for path, query in jaeger_server.asked[1:]]
    assert asked == sorted(services)
    assert jaeger_server.asked[1][1]["query.start_time_min"] == "1970-01-01T00:00:01.000000+00:00"


def test_more_traces_than_a_page_holds_are_asked_for_in_halves(
    jaeger_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaeger, "TRACES_A_PAGE", 2)  # as many as the recorded page has
    replies = jaeger_server.replies.copy()

    def reply(path: str, query: dict[str, str]) -> tuple[int, bytes]:
        if path.endswith("traces") and query["query.start_time_min"] > "1970-01-01T00:00:01.0005":
            return (404, NOTHING)
        return replies[path]

    jaeger_server.reply = reply  # type: ignore[method-assign]
    run = Run.from_jaeger(jaeger_server.url, 1.0, 1.004, services=["orders"])
    windows = [
        (query["query.start_time_min"][-15:-6], query["query.start_time_max"][-15:-6])
        for path, query in jaeger_server.asked
    ]
    assert windows == [
        ("01.000000", "01.004000"),
        ("01.000000", "01.002000"),
        ("01.000000", "01.001000"),
        ("01.001000", "01.002000"),
        ("01.002000", "01.004000"),
    ]
    assert len(run.spans) == 34


def test_prometheus_samples_have_the_columns_of_metrics(server: Server) -> None:
    server.replies["/api/v1/query"] = (200, (RECORDED / "prometheus_range.json").read_bytes())
    start, end = 1795273175.87, 1795273177.5
    run = Run.from_prometheus(server.url, start, datetime.fromtimestamp(end, UTC))
    frame = run.frame("metrics")
    assert list(frame.columns) == list(TABLES["metrics"])
    assert frame["time_s"].between(start, end).all()
    recorded = json.loads((RECORDED / "prometheus_range.json").read_text())["data"]["result"]
    expected = Counter(
        (series["metric"]["__name__"], series["metric"]["instance"], float(value))
        for series in recorded
        for time_s, value in series["values"]
        if start <= time_s <= end
    )
    assert Counter(zip(frame.name, frame.instance, frame.value, strict=True)) == expected
    assert set(frame.service) == {"orders"}
    labels = json.loads(frame[frame.name.str.endswith("_count")].iloc[0].labels)
    assert set(labels) == {"http_request_method", "http_response_status_code", "http_route"}
    [(_, query)] = server.asked
    assert query["query"].endswith("[3s]")
    assert query["time"] == "1795273178"


def test_a_sample_that_two_chunks_share_is_taken_once(server: Server) -> None:
    series = {
        "metric": {"__name__": "up", "service": "orders", "instance": "orders-1"},
        "values": [[60, "1"]],
    }
    answer = {"status": "success", "data": {"result": [series]}}
    server.replies["/api/v1/query"] = (200, json.dumps(answer).encode())
    run = Run.from_prometheus(server.url, 0, 120)
    assert len(server.asked) == 2
    assert len(run.metrics) == 1


def test_both_can_share_a_directory_which_then_is_an_archive(
    jaeger_server: Server, tmp_path: Path
) -> None:
    url = jaeger_server.url
    jaeger_server.replies["/api/v1/query"] = (
        *(200, (RECORDED / "prometheus_range.json").read_bytes()),
    )
    Run.from_jaeger(url, 1.0, 2.0, into=tmp_path)
    Run.from_prometheus(url, 1795273175, 1795273178, into=tmp_path)
    run = Run(tmp_path)
    assert len(run.spans) == 34
    assert len(run.metrics) > 0
    assert run.info["source"] == url
    with pytest.raises(ArchiveError, match="has spans already"):
        Run.from_jaeger(url, 1.0, 2.0, into=tmp_path)


def test_a_run_that_was_not_to_be_kept_is_gone_with_its_last_user(jaeger_server: Server) -> None:
    run = Run.from_jaeger(jaeger_server.url, 1.0, 2.0)
    path = run.path
    assert path.is_dir()
    del run
    gc.collect()
    assert not path.exists()


def test_what_cannot_be_fetched_says_why(server: Server, tmp_path: Path) -> None:
    readers = (Run.from_jaeger, Run.from_prometheus)
    for reader, says in zip(readers, ("Jaeger 2 or newer", "refused"), strict=True):
        with pytest.raises(ArchiveError, match=says):
            reader(server.url, 1.0, 2.0, into=tmp_path / "run")
        with pytest.raises(ArchiveError, match=r"answers at .*lab status"):
            reader("http://127.0.0.1:9", 1.0, 2.0, into=tmp_path / "run")
        with pytest.raises(ArchiveError, match="is no address"):
            reader("localhost", 1.0, 2.0)
        with pytest.raises(ArchiveError, match="the window is empty"):
            reader(server.url, 2.0, 2.0)
        with pytest.raises(ArchiveError, match="no time zone"):
            reader(server.url, datetime(2026, 1, 1), 2.0)
    assert not list((tmp_path / "run").iterdir())

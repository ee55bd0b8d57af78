"""Runs fetched from Jaeger and Prometheus. A local HTTP server replays recorded replies."""

from __future__ import annotations

import gc
import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
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
    """Answers each path with its reply in `replies` and records the requests."""

    def __init__(self) -> None:
        self.replies: dict[str, tuple[int, bytes]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                server.requests.append((url.path, query))
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
    """Rows by span id, with JSON parsed: Jaeger sorts attributes by name."""
    for row in rows:
        row["attributes"] = json.loads(row["attributes"])
        row["events"] = json.loads(row["events"] or "null")
    return {row["span_id"]: row for row in rows}


def rows_of(run: Run, table: str) -> list[dict[str, Any]]:
    relation = run.table(table)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def test_spans_from_jaeger_equal_the_recorded_spans(jaeger_server: Server) -> None:
    run = Run.from_jaeger(jaeger_server.url, 1.0, 2.0)
    recorded = [json.loads(line) for line in (RECORDED / "spans.ndjson").open()]
    assert len(recorded) == 34
    assert any(row["events"] for row in recorded)
    assert by_span(rows_of(run, "spans")) == by_span([{"seq": None} | row for row in recorded])
    services = json.loads((RECORDED / "jaeger_services.json").read_text())["services"]
    services_queried = [query["query.service_name"] for path, query in jaeger_server.requests[1:]]
    assert services_queried == sorted(services)
    assert (
        jaeger_server.requests[1][1]["query.start_time_min"] == "1970-01-01T00:00:01.000000+00:00"
    )


def test_a_window_with_more_traces_than_a_page_is_read_in_halves(
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
        for path, query in jaeger_server.requests
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
    [(_, query)] = server.requests
    assert query["query"].endswith("[3s]")
    assert query["time"] == "1795273178"


def test_a_sample_at_the_edge_of_two_chunks_is_read_once(server: Server) -> None:
    series = {
        "metric": {"__name__": "up", "service": "orders", "instance": "orders-1"},
        "values": [[60, "1"]],
    }
    answer = {"status": "success", "data": {"result": [series]}}
    server.replies["/api/v1/query"] = (200, json.dumps(answer).encode())
    run = Run.from_prometheus(server.url, 0, 120)
    assert len(server.requests) == 2
    assert len(run.metrics) == 1


def test_spans_and_metrics_can_share_a_directory(jaeger_server: Server, tmp_path: Path) -> None:
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


def test_a_temporary_run_is_deleted_with_its_object(jaeger_server: Server) -> None:
    run = Run.from_jaeger(jaeger_server.url, 1.0, 2.0)
    path = run.path
    assert path.is_dir()
    del run
    gc.collect()
    assert not path.exists()


def test_the_error_of_a_failed_fetch_names_the_reason(server: Server, tmp_path: Path) -> None:
    readers: tuple[Callable[..., Run], ...] = (Run.from_jaeger, Run.from_prometheus)
    for reader, message in zip(readers, ("Jaeger 2 or newer", "refused"), strict=True):
        with pytest.raises(ArchiveError, match=message):
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


def prometheus_answer(*series: dict[str, Any]) -> tuple[int, bytes]:
    return 200, json.dumps({"status": "success", "data": {"result": list(series)}}).encode()


def test_a_native_histogram_is_refused_by_its_name(server: Server) -> None:
    histogram = {"count": "2", "sum": "3.5", "buckets": [[0, "1", "2", "2"]]}
    series = {"metric": {"__name__": "took_seconds"}, "histograms": [[1.5, histogram]]}
    server.replies["/api/v1/query"] = prometheus_answer(series)
    with pytest.raises(ArchiveError, match=r"took_seconds is a native histogram.*`matching`"):
        Run.from_prometheus(server.url, 1.0, 2.0)


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": null}',
        b'{"data": {"result": [null]}}',
        b'{"data": {"result": [{"metric": {}, "values": [[1.5, "1"]]}]}}',
        b'{"data": {"result": [{"metric": {"__name__": "up"}, "values": [[1.5, "x"]]}]}}',
        b'{"data": {"result": [{"metric": {"__name__": "up"}, "values": null}]}}',
    ],
)
def test_an_answer_of_prometheus_that_cannot_be_read_is_an_error_by_name(
    server: Server, body: bytes
) -> None:
    server.replies["/api/v1/query"] = (200, body)
    with pytest.raises(
        ArchiveError, match=f"Prometheus at {server.url} sent an answer that cannot"
    ):
        Run.from_prometheus(server.url, 1.0, 2.0)


def with_nulls(value: Any) -> Any:
    """The same message in ProtoJSON with a further member that is null in each object."""
    if isinstance(value, dict):
        return {name: with_nulls(each) for name, each in value.items()} | {"links": None}
    return [with_nulls(each) for each in value] if isinstance(value, list) else value


def test_jaegers_answers_may_contain_nulls(jaeger_server: Server) -> None:
    plain = rows_of(Run.from_jaeger(jaeger_server.url, 1.0, 2.0), "spans")
    status, body = jaeger_server.replies["/api/v3/traces"]
    jaeger_server.replies["/api/v3/traces"] = (
        *(status, json.dumps(with_nulls(json.loads(body))).encode()),
    )
    assert rows_of(Run.from_jaeger(jaeger_server.url, 1.0, 2.0), "spans") == plain
    for nothing in ({"result": None}, {"result": {"resourceSpans": None}}, {"services": None}):
        path = "/api/v3/services" if "services" in nothing else "/api/v3/traces"
        jaeger_server.replies[path] = (200, json.dumps(nothing).encode())
        assert rows_of(Run.from_jaeger(jaeger_server.url, 1.0, 2.0), "spans") == []


@pytest.mark.parametrize(
    "answer",
    [
        {"result": 7},
        {"result": {"resourceSpans": [None]}},
        {"result": {"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}},
        {"result": {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "5b"}]}]}]}},
    ],
)
def test_an_answer_of_jaeger_that_is_not_otlp_is_an_error_by_name(
    jaeger_server: Server, answer: Any
) -> None:
    jaeger_server.replies["/api/v3/traces"] = (200, json.dumps(answer).encode())
    with pytest.raises(
        ArchiveError, match=f"Jaeger at {jaeger_server.url} sent an answer that is not"
    ):
        Run.from_jaeger(jaeger_server.url, 1.0, 2.0)

"""nginx's log lines become spans: in the recording, and sent to Jaeger or to the collector."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from lab.recorder.intake.nginx_spans import LOG, NginxSpans
from lab.recorder.recorder import Recorder
from tests.fixtures.waiting import wait_until
from tests.lab.recorder.recorder_process import TOKEN, RecorderProcess, rows
from tests.lab.recorder.test_span_forwarder import Jaeger, jaeger  # noqa: F401

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
LINE = {
    "time": 1700000000.25, "level": "info", "service": "nginx", "instance": "nginx", "message": "request",
    "trace_id": TRACE_ID, "span_id": TRACE_ID[:16], "method": "POST", "path": "/api/orders", "status": 201,
    "bytes": 738, "duration_s": 0.125, "upstream": "127.0.0.1:8090", "upstream_status": "201",
    "upstream_duration_s": "0.124",
}  # fmt: skip


class Folder:
    """nginx's log, and the spans made from it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / LOG
        self._nginx_spans: NginxSpans | None = None
        self._bodies: list[bytes] = []

    def write(self, *lines: dict[str, Any] | str) -> None:
        with self.log.open("a") as file:
            for line in lines:
                file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")

    def spans(self) -> list[Any]:
        if self._nginx_spans is None:
            self._nginx_spans = NginxSpans(self.log.parent, self._bodies.append)
        self._nginx_spans.read()
        requests = [ExportTraceServiceRequest.FromString(body) for body in self._bodies]
        self._bodies.clear()
        return [span for each in requests for span in each.resource_spans[0].scope_spans[0].spans]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_request_is_the_root_of_its_trace_in_the_recording(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    recorder.log(
        "nginx", **LINE | {"trace_id": "f" * 32, "span_id": "f" * 16}
    )  # before the recording
    run_dir = tmp_path / "run"
    recorder.start(run_dir)
    recorder.log("nginx", **LINE)
    recorder.log("nginx", **LINE | {"status": 502, "span_id": "a" * 16})
    wait_until(lambda: len(rows(run_dir, "spans")) >= 2, "two spans")
    recorder.stop()
    well, bad = sorted(rows(run_dir, "spans"), key=lambda row: int(row["http_status"]))
    assert (well["trace_id"], well["span_id"], well["parent_span_id"]) == (
        TRACE_ID,
        TRACE_ID[:16],
        "",
    )
    assert (well["service"], well["instance"], well["kind"]) == ("nginx", "nginx", "server")
    assert (well["name"], well["http_method"], well["status"]) == ("POST", "POST", "unset")
    assert (well["start_ns"], well["end_ns"]) == (1700000000125000000, 1700000000250000000)
    assert json.loads(well["attributes"])["url.path"] == "/api/orders"
    assert (bad["http_status"], bad["status"]) == (502, "error")
    assert len([row for row in rows(run_dir, "logs") if row["instance"] == "nginx"]) == 2


async def test_nginx_spans_go_to_jaeger_or_to_the_collector(
    tmp_path: Path,
    jaeger: Jaeger,  # noqa: F811
) -> None:
    for lab, collector in (({"jaeger_otlp": jaeger.url}, ""), ({}, jaeger.url)):
        folder = tmp_path / ("collector" if collector else "jaeger")
        (folder / "logs").mkdir(parents=True)
        (folder / "lab.json").write_text(json.dumps({"token": TOKEN, "addresses": lab}))
        recorder = Recorder(folder, collector)
        (folder / "logs" / LOG).write_text(json.dumps(LINE) + "\n")
        recorder.nginx_spans.read()
        forwarder = recorder.collector or recorder.jaeger
        assert forwarder._sending is not None
        await forwarder._sending
        await forwarder.close()
        body, _ = jaeger.bodies.pop()
        (group,) = ExportTraceServiceRequest.FromString(body).resource_spans
        assert group.scope_spans[0].spans[0].trace_id.hex() == TRACE_ID


def test_other_lines_of_nginx_make_no_span_and_no_error(folder: Folder) -> None:
    folder.log.touch()
    assert folder.spans() == []
    folder.write(
        "nginx: [warn] half a", "[1]", "7", {"trace_id": "x"}, LINE | {"status": ""},
        LINE | {"duration_s": "-"}, LINE | {"trace_id": "zz"}, LINE | {"time": float("inf")},
        LINE | {"status": 10**30}, LINE,
    )  # fmt: skip
    assert [span.trace_id.hex() for span in folder.spans()] == [TRACE_ID]


def test_a_later_log_is_read_from_its_start_and_an_existing_one_from_its_end(
    folder: Folder,
) -> None:
    assert folder.spans() == []
    folder.write(LINE)
    assert len(folder.spans()) == 1
    other = Folder(folder.log.parent)
    assert other.spans() == []
    other.write(LINE, LINE)
    assert len(other.spans()) == 2


def test_nginx_keeps_the_same_traces_as_the_services(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.3")
    folder.log.touch()
    assert folder.spans() == []
    rng = Random(3)
    ids = [f"{rng.getrandbits(128):032x}" for _ in range(200)]
    folder.write(*(LINE | {"trace_id": each, "span_id": each[:16]} for each in ids))
    same = TraceIdRatioBased(0.3)
    wanted = [
        each for each in ids if same.should_sample(None, int(each, 16), "x").decision.value == 2
    ]
    assert 0 < len(wanted) < 200
    assert [span.trace_id.hex() for span in folder.spans()] == wanted


def test_disabled_tracing_makes_no_spans(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    folder.log.touch()
    folder.spans()
    folder.write(LINE)
    assert folder.spans() == []

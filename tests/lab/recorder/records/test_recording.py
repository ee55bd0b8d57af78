"""Start and stop of a recording, logs, metrics, and the archive after a kill -9."""

from __future__ import annotations

import asyncio
import http.server
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.archive import Run, seal
from lab.archive.tables import parts
from lab.otlp.spans import lines_from_json
from lab.recorder.lab_file import LabFile
from lab.recorder.records.recording import Recording
from tests.fixtures.waiting import wait_until
from tests.lab.recorder.recorder_process import RecorderProcess, rows

OTLP = {"Content_Type": "application/json"}


def spans_body(number: int) -> bytes:
    """OTLP/JSON with one span, whose name is `number`."""
    ids = {"traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}"}
    times = {"startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    span = {**ids, **times, "name": str(number)}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


METRICS = b"""# HELP x text
# TYPE x counter
http_server_request_duration_seconds_count{http_route="/orders/{id}",note="a \\"b\\" \\\\ \\n}"} 3.0
http_server_request_duration_seconds_created{http_route="/orders/{id}"} 1.7e+09
plain 1
odd NaN
"""


@pytest.fixture
def metrics_port() -> Iterator[int]:
    """A real HTTP server that answers /metrics."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(METRICS)

        def log_message(self, *args: object) -> None: ...

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_log_lines_go_to_the_table_of_their_event(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    recorder.start(run_dir)
    who = {"service": "payments", "instance": "payments-1"}
    recorder.log("payments-1", time=1.5, level="info", message="hello", answer=42, **who)
    recorder.log(
        "payments-1",
        **{"time": 2.5, "event": "breaker", "edge": "payments->bank", "policy": "breaker"},
        **{"kind": "transition", "state": "open", "previous": "closed", "n": 20, "wait_s": 5.0},
        **who,
    )
    fault = {"event": "fault", "fault_id": "f1", "kind": "latency", **who}
    recorder.log("payments-1", time=3.0, phase="commanded", scope={"route": "/x"}, **fault)
    recorder.log("payments-1", time=3.1, phase="effective", hits=1, **fault)
    recorder.log("payments-1", time=9.0, phase="removed", hits=7, **fault)
    recorder.write("payments-1", b"Traceback (most recent call last):\n")
    counts = recorder.stop()
    assert counts["rows"] == {"spans": 0, "logs": 2, "metrics": 4, "breakers": 1, "faults": 3}
    own = {json.loads(row["labels"])["table"]: row["value"] for row in rows(run_dir, "metrics")}
    assert own == {name: count for name, count in counts["rows"].items() if name != "faults"}
    hello, trace = rows(run_dir, "logs")
    assert (hello["time_s"], hello["message"]) == (1.5, "hello")
    assert json.loads(hello["attributes"]) == {"answer": 42}
    assert trace["message"].startswith("Traceback")
    assert (trace["service"], trace["instance"]) == ("payments", "payments-1")
    [event] = rows(run_dir, "breakers")
    assert (event["state"], event["previous"], event["n"]) == ("open", "closed", 20)
    assert json.loads(event["details"]) == {"wait_s": 5.0}
    [row] = rows(run_dir, "faults")
    assert (row["commanded_s"], row["effective_s"], row["removed_s"]) == (3.0, 3.1, 9.0)
    assert (row["hits"], row["target"], json.loads(row["scope"])) == (
        7,
        "payments-1",
        {"route": "/x"},
    )


def test_only_lines_logged_during_the_recording_are_recorded(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    recorder.log("orders-1", message="too early")
    recorder.write("orders-1", b'{"message": "half written at the start')
    recorder.start(tmp_path / "run")
    recorder.write("orders-1", b'"}\n')
    recorder.log("orders-1", message="now")
    recorder.log("orders-2", message="of a later instance")
    recorder.write("orders-1", b'{"message": "half written at the end')
    recorder.stop()
    recorder.log("orders-1", message="too late")
    assert {row["message"] for row in rows(tmp_path / "run", "logs")} == {
        "now",
        "of a later instance",
    }


def test_rotation_and_truncation_lose_nothing(recorder: RecorderProcess, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    log = recorder.lab_dir / "logs" / "orders-1.jsonl"
    recorder.log("orders-1", message="before")

    def written() -> int:
        return int(recorder.status()["rows"]["logs"])

    recorder.start(run_dir)
    recorder.log("orders-1", message="first")
    wait_until(lambda: written() == 1, "the first line is written")
    recorder.log("orders-1", message="last of the old file")
    log.rename(log.with_suffix(".1"))
    recorder.log("orders-1", message="first of the new file")
    wait_until(lambda: written() == 3, "the third line is written")
    log.write_bytes(b"")
    wait_until(lambda: log.stat().st_size == 0, "the log is cut")
    recorder.log("orders-1", message="b")
    recorder.stop()
    assert [row["message"] for row in rows(run_dir, "logs")] == [
        "first",
        "last of the old file",
        "first of the new file",
        "b",
    ]


def test_metrics_are_scraped_and_a_dead_instance_is_down(
    recorder: RecorderProcess, tmp_path: Path, metrics_port: int
) -> None:
    run_dir = tmp_path / "run"
    alive = {**{"name": "orders-1", "service": "orders", "address": f"127.0.0.1:{metrics_port}"}}
    recorder.scraping(alive)
    recorder.start(run_dir)
    wait_until(lambda: recorder.status()["rows"]["metrics"] >= 4, "a scrape of the instance")
    recorder.scraping(alive, {"name": "bank-1", "service": "bank", "address": "127.0.0.1:9"})
    wait_until(lambda: recorder.status()["scrape_failures"] >= 1, "a scrape that fails")
    recorder.stop()
    run = Run(run_dir)
    up = dict(
        run.sql("SELECT instance, min(value) FROM metrics WHERE name='up' GROUP BY 1").fetchall()
    )
    assert up == {"orders-1": 1.0, "bank-1": 0.0}
    labels, value = run.sql(
        "SELECT labels, value FROM metrics WHERE name LIKE '%_count'"
    ).fetchall()[0]
    assert json.loads(labels) == {"http_route": "/orders/{id}", "note": 'a "b" \\ \n}'}
    assert value == 3.0
    names = {name for (name,) in run.sql("SELECT DISTINCT name FROM metrics").fetchall()}
    own = {"recorder_rows_total"}
    assert names - own == {"up", "http_server_request_duration_seconds_count", "plain", "odd"}


def test_a_killed_recorder_leaves_an_archive_that_opens_and_can_be_continued(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    recorder.start(run_dir)
    for number in range(50):
        recorder.log("orders-1", time=number, message=f"line {number}")
    wait_until(lambda: recorder.status()["rows"]["logs"] == 50, "50 lines")
    recorder.process.kill()
    recorder.process.wait()
    with (run_dir / "logs.ndjson").open("ab") as file:
        file.write(b'{"time_s": 50, "message": "torn in the mid')
    assert len(rows(run_dir, "logs")) == 50
    sealed = seal(run_dir)
    assert sealed.rows["logs"] == 50
    assert sealed.damaged == {"logs": 1}


def test_a_recorder_killed_in_a_stream_loses_at_most_the_last_second(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    recorder.start(run_dir)
    answered: list[float] = []  # when each span was acknowledged
    began = time.monotonic()
    while time.monotonic() - began < 1.5:  # a stream of more than the second that may be lost
        assert recorder.call("POST", "/v1/traces", spans_body(len(answered)), **OTLP)[0] == 200
        answered.append(time.monotonic())
    recorder.process.kill()
    recorder.process.wait()
    killed = time.monotonic()
    safe = sum(1 for at in answered if at < killed - 1.0)
    assert safe > 0
    assert safe <= len(rows(run_dir, "spans")) <= len(answered)
    assert seal(run_dir).rows["spans"] >= safe


async def test_full_segments_become_parquet_during_the_recording(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    lab = LabFile(tmp_path / "lab.json")
    recording = Recording(tmp_path, tmp_path, lab, segment_bytes=20_000)
    sent = 0
    while recording.counts()["segments"]["compacted"] < 2:
        lines, count = lines_from_json(spans_body(sent))
        assert recording.add_spans(lines, count)
        sent += count
        assert sent < 100_000, "no segment was compacted"
        await asyncio.sleep(0.005)  # the distance between batches
    opened = len(Run(tmp_path).spans)
    counts = await recording.stop()
    assert 0 < opened <= sent
    assert counts["rows"]["spans"] == sent
    assert counts["segments"]["failed"] == 0
    assert not (tmp_path / "spans.000001.ndjson").exists()
    names = [name for (name,) in Run(tmp_path).spans.project("name").fetchall()]
    assert names == [str(number) for number in range(sent)]
    assert seal(tmp_path).rows["spans"] == sent
    assert [row["name"] for row in rows(tmp_path, "spans")] == names
    assert {part.suffix for part in parts(tmp_path, "spans")} == {".parquet"}


def test_control_requires_the_token(recorder: RecorderProcess, tmp_path: Path) -> None:
    status, answer = recorder.call("POST", "/recording", {"run_dir": str(tmp_path)}, token="wrong")
    assert status == 401
    assert "lab.json" in answer["error"]
    assert recorder.status() == {"recording": False}


def test_one_recording_at_a_time(recorder: RecorderProcess, tmp_path: Path) -> None:
    assert recorder.call("DELETE", "/recording")[0] == 404
    recorder.start(tmp_path / "one")
    recorder.start(tmp_path / "one")
    status, answer = recorder.call("POST", "/recording", {"run_dir": str(tmp_path / "two")})
    assert status == 409
    assert "stop it first" in answer["error"]
    assert not (tmp_path / "two").exists()
    assert recorder.call("POST", "/recording", {"run_dir": "relative"})[0] == 400
    assert recorder.call("POST", "/recording", b"?")[0] == 400
    recorder.stop()
    assert json.loads((tmp_path / "one" / "recorder.json").read_text())["error"] == ""


def test_a_sealed_run_is_not_recorded_over(recorder: RecorderProcess, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    seal(tmp_path / "run")
    status, answer = recorder.call("POST", "/recording", {"run_dir": str(tmp_path / "run")})
    assert status == 409
    assert "sealed" in answer["error"]


def test_sigterm_finishes_the_recording(recorder: RecorderProcess, tmp_path: Path) -> None:
    recorder.start(tmp_path / "run")
    recorder.log("orders-1", message="the last word")
    recorder.process.terminate()
    recorder.process.wait(timeout=10)
    assert [row["message"] for row in rows(tmp_path / "run", "logs")] == ["the last word"]
    assert (tmp_path / "run" / "recorder.json").is_file()


def test_an_idle_recorder_is_small_and_loads_no_analysis(recorder: RecorderProcess) -> None:
    memory = psutil.Process(recorder.process.pid)
    assert memory.memory_info().rss <= 40 * 2**20
    loaded = {Path(mapped.path).name for mapped in memory.memory_maps()}
    assert not {name for name in loaded if "duckdb" in name or "pandas" in name}

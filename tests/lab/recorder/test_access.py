"""Only a writer with the token adds to the evidence: a web page can send requests to loopback too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.recorder.recorder_process import SIGNALS_TOKEN, TOKEN, RecorderProcess

FORGED = [
    {"event": "breaker", "edge": "payments->bank", "policy": "breaker", "kind": "rejection"},
    {"event": "fault", "fault_id": "f-1", "kind": "latency", "phase": "effective"},
]
OTLP = {"Content_Type": "application/json"}
BODIES = {
    "/logs": (json.dumps(FORGED).encode(), {"Content_Type": "text/plain"}),
    "/v1/logs": (b'{"resourceLogs": []}', OTLP),
    "/v1/traces": (b'{"resourceSpans": []}', OTLP),
}


@pytest.mark.parametrize("path", BODIES)
def test_signals_of_a_web_page_are_refused_and_leave_no_row(
    recorder: RecorderProcess, tmp_path: Path, path: str
) -> None:
    recorder.start(tmp_path / "run")
    body, kind = BODIES[path]
    page = {"Origin": "https://example.org", **kind}
    for token in ("", "guessed", TOKEN):
        status, answer = recorder.call("POST", path, body, token=token, **page)
        assert status == 401
        assert "signals_token of lab.json" in answer["error"]
    counts = recorder.stop()
    assert counts["refused"] == {"traces": 0, "logs": 0}, "no evidence was lost"
    assert (counts["rows"]["breakers"], counts["rows"]["faults"]) == (0, 0)


def test_the_token_for_signals_does_not_control_the_recording(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    run = {"run_dir": str(tmp_path / "run")}
    assert recorder.call("POST", "/recording", run, token=SIGNALS_TOKEN)[0] == 401
    assert recorder.status() == {"recording": False}


def test_without_lab_json_signals_are_to_be_sent_again_later(recorder: RecorderProcess) -> None:
    """A service of a lab that starts may be earlier than lab.json: its spans wait."""
    (recorder.lab_dir / "lab.json").write_text("{}")
    for path, (body, kind) in BODIES.items():
        assert recorder.call("POST", path, body, token="", **kind)[0] == 503


def test_a_page_that_leads_its_name_to_loopback_reads_no_logs(recorder: RecorderProcess) -> None:
    path = f"/logs?format=json&trace_id={'a' * 32}"
    assert recorder.call("GET", path)[0] == 200
    assert recorder.call("GET", path, Host="rebound.example.org")[0] == 421

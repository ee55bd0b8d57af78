"""The log lines of one trace, which Jaeger's page and Grafana's exemplars link to."""

from __future__ import annotations

import re
import urllib.request

import pytest

from lab.topology import PROJECT, load
from tests.lab.recorder.recorder_process import RecorderProcess

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "0af7651916cd43dd8448eb211c80319c"
DEPLOY = PROJECT / "system" / "deploy"


@pytest.fixture
def logged(recorder: RecorderProcess) -> RecorderProcess:
    recorder.log("orders-1", time=2.0, level="info", service="orders", instance="orders-1",
                 message="order placed", trace_id=TRACE, order_id="o-1")  # fmt: skip
    recorder.log("gateway-1", time=1.0, level="warning", service="gateway", instance="gateway-1",
                 message="<script>alert(1)</script>", trace_id=TRACE)  # fmt: skip
    recorder.log("gateway-1", time=1.5, message=f"mentions {TRACE}", trace_id=OTHER)
    recorder.write("postgres", f"LOG: {TRACE} in a server's own words\n".encode())
    return recorder


def page(recorder: RecorderProcess, trace_id: str) -> str:
    url = f"http://127.0.0.1:{recorder.port}/logs?trace_id={trace_id}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def test_the_lines_of_a_trace_come_from_all_files_oldest_first(logged: RecorderProcess) -> None:
    status, answer = logged.call("GET", f"/logs?trace_id={TRACE.upper()}&format=json")
    assert status == 200
    assert [line["instance"] for line in answer["lines"]] == ["gateway-1", "orders-1"]
    assert answer["lines"][1]["order_id"] == "o-1"


def test_the_page_shows_lines_as_text_and_links_to_jaeger(logged: RecorderProcess) -> None:
    (logged.lab_dir / "lab.json").write_text('{"addresses": {"jaeger": "http://127.0.0.1:8181"}}')
    shown = page(logged, TRACE)
    assert "2 lines" in shown
    assert shown.index("&lt;script&gt;alert(1)") < shown.index("order placed")
    assert "<script" not in shown
    assert f'href="http://127.0.0.1:8181/trace/{TRACE}"' in shown


def test_a_trace_without_lines_has_a_message(logged: RecorderProcess) -> None:
    assert "No line has it" in page(logged, "f" * 32)


@pytest.mark.parametrize("bad", ["", "x", TRACE[:-1], TRACE + "0", "..%2Flab.json"])
def test_an_invalid_trace_id_is_refused(recorder: RecorderProcess, bad: str) -> None:
    status, answer = recorder.call("GET", f"/logs?trace_id={bad}")
    assert (status, "expected 32 hex digits" in answer["error"]) == (400, True)


def test_jaegers_page_finds_the_recorder_by_the_ports_of_the_topology() -> None:
    ports = load().ports(8080)
    (below,) = re.findall(r"location\.port\) - (\d+)", (DEPLOY / "jaeger-ui.js").read_text())
    assert ports["jaeger"] - int(below) == ports["recorder"]

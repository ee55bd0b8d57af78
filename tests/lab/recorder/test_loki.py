"""Grafana's Loki queries for the log lines of a trace, sent to a real recorder."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.lab.recorder.recorder_process import RecorderProcess

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
QUERY = f'{{lab="breakwater"}} |= "{TRACE}"'


def query_loki(
    recorder: RecorderProcess, call: str, **parameters: Any
) -> tuple[int, dict[str, Any]]:
    return recorder.call("GET", f"/loki/api/v1/{call}?{urlencode(parameters)}")


def test_a_traces_lines_are_streams_newest_first(recorder: RecorderProcess) -> None:
    for number in range(3):
        line = {
            "time": 1700000000.5 + number,
            "level": "info",
            "service": "orders",
            "message": str(number),
        }
        recorder.log("orders-1", instance="orders-1", trace_id=TRACE, **line)
    recorder.log(
        "bank-1", time=1.0, service="bank", instance="bank-1", trace_id=TRACE, level="error"
    )
    recorder.log("bank-1", time=2.0, service="bank", instance="bank-1", trace_id="0" * 32)
    status, answer = query_loki(
        recorder, "query_range", query=QUERY, start="1", end="2", limit="1000"
    )
    assert (status, answer["status"], answer["data"]["resultType"]) == (200, "success", "streams")
    orders, bank = answer["data"]["result"]
    assert orders["stream"] == {"service": "orders", "instance": "orders-1", "level": "info"}
    assert [at for at, _ in orders["values"]] == [
        "1700000002500000000", "1700000001500000000", "1700000000500000000",
    ]  # fmt: skip
    assert json.loads(orders["values"][0][1])["trace_id"] == TRACE
    assert (bank["stream"]["service"], len(bank["values"])) == ("bank", 1)
    _, fewer = query_loki(recorder, "query_range", query=QUERY, limit="1")
    assert [len(stream["values"]) for stream in fewer["data"]["result"]] == [1]


def test_a_posted_query_is_the_same(recorder: RecorderProcess) -> None:
    recorder.log("orders-1", time=1.0, instance="orders-1", trace_id=TRACE)
    body = urlencode({"query": QUERY}).encode()
    form = "application/x-www-form-urlencoded"
    status, answer = recorder.call("POST", "/loki/api/v1/query_range", body, Content_Type=form)
    assert (status, len(answer["data"]["result"])) == (200, 1)


def test_grafanas_other_queries_have_answers(recorder: RecorderProcess) -> None:
    status, health = query_loki(recorder, "query", query="vector(1)+vector(1)", time="4")
    assert status == 200
    assert health["data"]["result"][0]["value"][1] == "2"
    status, volume = query_loki(
        recorder, "query_range", query=f"sum by (level) (count_over_time({QUERY}[1s]))"
    )
    assert (status, volume["data"]) == (200, {"resultType": "matrix", "result": [], "stats": {}})
    assert query_loki(recorder, "labels")[1]["data"] == ["instance", "level", "service"]


@pytest.mark.parametrize(
    ("call", "parameters", "status"),
    [
        ("query_range", {"query": '{service="orders"}'}, 400),
        ("query_range", {"query": f'{{a="b"}} |= "{TRACE[:-1]}"'}, 400),
        ("query_range", {"query": QUERY, "limit": "many"}, 400),
        ("query_range", {}, 400),
        ("tail", {"query": QUERY}, 404),
    ],
)
def test_unsupported_queries_are_refused(
    recorder: RecorderProcess, call: str, parameters: dict[str, str], status: int
) -> None:
    got, answer = query_loki(recorder, call, **parameters)
    assert got == status
    assert answer["error"]

"""The summary counts shoppers: a repeated request is one request, with the outcome of its last attempt."""

import json
from pathlib import Path

from lab.run.runner import RunResult
from lab.run.summary import summary_lines, summary_of

ATTEMPTS = [
    {
        "logical_id": "a",
        "attempt_no": 1,
        "intended_start_s": 10.0,
        "end_s": 11.0,
        "outcome": "unknown",
    },
    {"logical_id": "a", "attempt_no": 2, "intended_start_s": 11.5, "end_s": 11.6, "outcome": "ok"},
    {"logical_id": "b", "attempt_no": 1, "intended_start_s": 10.0, "end_s": 10.1, "outcome": "ok"},
]


def test_attempts_of_one_request_are_one_row_from_its_first_start_to_its_last_answer(
    tmp_path: Path,
) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "requests.ndjson").write_text(
        "".join(json.dumps({"seq": n, "route": "POST /api/orders"} | row) + "\n"
                for n, row in enumerate(ATTEMPTS))
    )  # fmt: skip
    result = RunResult(tmp_path, 0, [])
    [route] = summary_of(result)["routes"]
    assert (route["requests"], route["attempts"], route["errors"]) == (2, 3, 0)
    assert round(route["p99_ms"]) > 1500
    assert "2 requests in 3 attempts" in "\n".join(summary_lines(result))

"""Goodput that is unchanged over several runs: no failure in a few requests, and runs without a good request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.analysis.verdict.pool import pool
from lab.archive import Run
from tests.lab.analysis.request_rows import request

PHASES = [
    {"name": "before", "start_s": 0.0, "end_s": 100.0},
    {"name": "method", "start_s": 100.0, "end_s": 200.0},
]
EXPECTED = {"unchanged": {"measures": ["goodput_per_s"], "margin": 0.1}}
EXPERIMENT = {"extensions": [{"name": "breakwater", "claim": "x", "expects": EXPECTED}]}


def run_of(path: Path, requests: int, outcome: str = "ok") -> Run:
    """So many good requests before the fault, and as many with this outcome during it."""
    path.mkdir()
    step_s = 100.0 / requests
    rows = [request(n, n * step_s, n * step_s + 0.1) for n in range(requests)]
    late = [request(n, 100 + n * step_s, 100.1 + n * step_s) for n in range(requests)]
    rows += [row | {"logical_id": f"d{row['seq']}", "outcome": outcome} for row in late]
    info = {"phases": PHASES, "started_s": 0.0, "ended_s": 200.0}
    (path / "run.json").write_text(json.dumps(info))
    (path / "experiment.yaml").write_text(json.dumps(EXPERIMENT))
    (path / "requests.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Run(path)


def pooled(*runs: Run) -> dict[str, Any]:
    held = {"verdict": "held", "sli": [], "expectations": [], "reasons": []}
    return pool(runs, [held] * len(runs), looks=1)


def test_a_few_requests_without_a_failure_do_not_show_that_goodput_is_unchanged(
    tmp_path: Path,
) -> None:
    assert pooled(*(run_of(tmp_path / f"few-{n}", 10) for n in range(3)))["verdict"] == "undecided"
    assert pooled(*(run_of(tmp_path / f"many-{n}", 200) for n in range(3)))["verdict"] == "held"


def test_a_run_without_a_good_request_counts(tmp_path: Path) -> None:
    good = [run_of(tmp_path / f"good-{n}", 200) for n in range(3)]
    dead = [run_of(tmp_path / f"dead-{n}", 200, "fail") for n in range(3)]
    assert pooled(*good, dead[0])["verdict"] != "held"
    found = pooled(*dead)
    assert found["verdict"] == "deviated"
    (limit,) = found["limits"]
    assert limit["value"] == 0
    assert 0 < limit["high"] < 0.02

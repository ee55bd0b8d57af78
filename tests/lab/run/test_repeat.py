"""Repeated runs: when to stop, what is pooled, and what one run alone can break."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.analysis.latency import failures
from lab.analysis.verdict.verdict import write_verdict
from lab.archive import Run
from lab.cli import run as lab
from lab.run.progress import SilentReporter
from lab.run.repeat import Pool, repeat
from lab.run.runner import RunResult
from tests.lab.analysis.archives import edit, edit_experiment, write_archive

Edit = Callable[[Path], object]
ORDERS = {"route": "POST /api/orders", "window": "during"}
# About 110 orders in a run, none of which fails: one run shows a ratio below 5%, but not below 2.5%.
NEEDS_TWO = {"name": "no order fails", "measure": "error_ratio", "limit": 0.025} | ORDERS
NEVER = {"name": "hardly an order fails", "measure": "error_ratio", "limit": 0.0001} | ORDERS


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    return tmp_path / "runs"


def repeated(runs: Path, times: int, sli: dict[str, Any], *edits: Edit, mutant: str = "") -> Pool:
    """Repeat a simulated run. The n-th edit changes the n-th archive; the mutant is in the second."""

    def run(seed: int) -> RunResult:
        path = write_archive(runs / f"2026010{seed}T000000Z-x-{seed}", mutant if seed == 2 else "")
        edit_experiment(path, slis=[sli], expects={})
        if seed <= len(edits):
            edits[seed - 1](path)
        return RunResult(path, int(write_verdict(path)["exit_code"]), [])

    return repeat(run, "x", 1, times, SilentReporter())


def during(pool: Pool) -> int:
    """The orders of one run during the fault; the archives differ only by their edits."""
    return len(failures(Run(pool.results[0].path), ORDERS["route"], ORDERS["window"]))


def invalid(path: Path) -> None:
    edit(path, "run.json", residue=["a toxic"])


def nothing(path: Path) -> None:
    """No change."""


def test_it_stops_at_the_first_run_after_which_all_is_decided(runs: Path) -> None:
    pool = repeated(runs, 5, NEEDS_TWO)
    assert (pool.verdict["verdict"], pool.exit_code) == ("held", 0)
    assert 2 <= len(pool.results) < 5
    assert pool.verdict["confidence"] == pytest.approx(0.99)
    (limit,) = pool.verdict["limits"]
    assert limit["answer"] == "kept"
    assert limit["requests"] == during(pool) * len(pool.results)
    assert f"0 of {limit['requests']} requests in {len(pool.results)} runs" in limit["detail"]
    assert json.loads(pool.path.read_text()) == pool.verdict


def test_after_the_last_run_it_can_still_be_undecided_with_the_runs_that_it_needs(
    runs: Path,
) -> None:
    pool = repeated(runs, 2, NEVER)
    assert (pool.verdict["verdict"], pool.exit_code, len(pool.results)) == ("undecided", 4, 2)
    assert " more runs would decide it" in pool.verdict["reasons"][0]


def test_an_invalid_run_is_named_and_not_pooled(runs: Path) -> None:
    pool = repeated(runs, 3, NEVER, nothing, invalid)
    assert [each["run"][-1] for each in pool.verdict["runs"]] == ["1", "3"]
    (left_out,) = pool.verdict["not_pooled"]
    assert left_out["run"].endswith("-2")
    assert "a toxic was not removed" in left_out["reasons"][0]
    assert pool.verdict["limits"][0]["requests"] == 2 * during(pool)


def test_if_every_run_is_invalid_the_pool_is(runs: Path) -> None:
    pool = repeated(runs, 2, NEVER, invalid, invalid)
    assert (pool.verdict["verdict"], pool.exit_code) == ("invalid", 3)


def test_a_violated_invariant_in_one_run_is_a_deviation_of_the_pool(runs: Path) -> None:
    pool = repeated(runs, 5, NEVER, mutant="double_capture")
    assert (pool.verdict["verdict"], pool.exit_code, len(pool.results)) == ("deviated", 1, 2)
    assert any("x-2: invariant 1 (" in reason for reason in pool.verdict["reasons"])


def test_a_limit_that_one_run_breaks_is_decided_by_all_runs(runs: Path) -> None:
    slow = {"name": "fast", "measure": "p50_ms", "limit": 0.001} | ORDERS
    pool = repeated(runs, 3, slow)
    assert (pool.verdict["verdict"], len(pool.results)) == ("deviated", 1)
    n = during(pool)
    assert pool.verdict["reasons"][0].startswith(f"fast: {n} of {n} requests in 1 runs are beyond")


def test_an_interruption_ends_the_repeats(runs: Path) -> None:
    pool = repeated(runs, 3, NEVER, lambda path: edit(path, "run.json", interrupted=True))
    assert (len(pool.results), pool.exit_code) == (1, 3)


def test_the_pooled_verdict_is_listed_with_the_runs(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = repeated(runs, 2, NEVER)
    assert lab(["runs", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) == 3
    assert listed[-1]["run"] == pool.path.stem
    assert listed[-1]["verdict"] == "undecided"
    assert lab(["runs"]) == 0
    assert pool.path.stem in capsys.readouterr().out

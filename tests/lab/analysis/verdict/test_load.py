"""A load alone is measured, or judged by the limits of its profile, and invalid only for what is about a load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.analysis.load_figures import load_figures
from lab.analysis.verdict.verdict import judge
from lab.archive import Run, seal
from tests.lab.analysis.archives import edit, write_load

FAST = {"route": "GET /api/products/{id}", "measure": "p95_ms", "limit": 100.0}
TOO_FAST = FAST | {"limit": 1.0}
RARE = {"route": "POST /api/orders", "measure": "p999_ms", "limit": 9000.0}


@pytest.mark.parametrize(
    ("limits", "verdict", "exit_code"),
    [
        ([], "measured", 0),
        ([FAST], "held", 0),
        ([FAST, TOO_FAST], "deviated", 1),
        ([FAST, RARE], "undecided", 4),
    ],
)
def test_the_limits_of_the_profile_decide(
    tmp_path: Path, limits: list[dict[str, Any]], verdict: str, exit_code: int
) -> None:
    found = judge(Run(write_load(tmp_path / "run", limits)))
    assert (found["verdict"], found["exit_code"]) == (verdict, exit_code), found["reasons"]
    assert [each["window"] for each in found["sli"]] == ["all"] * len(limits)
    conditions = {each["name"] for each in found["validity"]}
    assert "the planned load was delivered" in conditions
    assert "the fault took effect" not in conditions


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: (path / "recorder.json").unlink(), "recorder.json is missing"),
        (lambda path: edit(path, "load.json", seed=99), "load.json: seed is 99"),
        (lambda path: edit(path, "run.json", exit_codes={"load": 1}), "exit code of load is 1"),
        (lambda path: edit(path, "run.json", phases=[]), "the phase load is missing"),
        (lambda path: edit(path, "run.json", quiescence={}), "it was not checked"),
    ],
)
def test_a_load_with_a_gap_in_its_evidence_is_invalid(
    tmp_path: Path, change: Any, reason: str
) -> None:
    path = write_load(tmp_path / "run", [FAST])
    change(path)
    found = judge(Run(path))
    assert found["verdict"] == "invalid"
    assert reason in " ".join(found["reasons"])


def test_an_experiment_without_its_journal_is_no_load(tmp_path: Path) -> None:
    path = write_load(tmp_path / "run", [FAST])
    edit(path, "run.json", experiment="payments_slow")
    found = judge(Run(path))
    assert found["verdict"] == "invalid"
    assert "journal.json is missing" in found["reasons"][0]


def test_a_closed_loop_needs_no_schedule(tmp_path: Path) -> None:
    path = write_load(tmp_path / "run", profile={}, schedule_s=None, closed_loop=True)
    seal(path)
    found = judge(Run(edit(path, "run.json")))
    assert found["verdict"] == "measured", found["reasons"]
    assert "the planned load was delivered" not in {each["name"] for each in found["validity"]}


def test_figures_have_requests_rates_and_intervals_of_each_route(tmp_path: Path) -> None:
    everything, *routes = load_figures(Run(write_load(tmp_path / "run")))
    assert everything.route is None
    assert everything.requests == sum(each.requests for each in routes)
    assert everything.per_s == pytest.approx(everything.requests / 60.0)
    browsing = next(each for each in routes if each.route == FAST["route"])
    assert browsing.p50.low is not None
    assert browsing.p50.high is not None
    assert browsing.p50.low <= browsing.p50.value <= browsing.p50.high
    assert browsing.error_ratio.value == browsing.errors == 0
    assert browsing.good_per_s.value == pytest.approx(browsing.per_s)

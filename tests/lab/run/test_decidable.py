"""What a run can decide is known before it starts, with the arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.chaos.experiment.loader import Experiment, load_experiment
from lab.chaos.experiment.plan import Expects, Sli
from lab.cli import run as lab
from lab.load.profiles import Profile
from lab.run.decidable import Forecast, forecasts, one_line

ORDERS = "POST /api/orders"
FIVE = Profile(name="five", rate_per_s={"order": 5.0})


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    """A fault of 32 s, with windows of 20 s before and 10 s after."""
    shipped = load_experiment("payments_slow")
    phases = shipped.plan.phases.model_copy(update={"before_s": 20.0, "after_s": 10.0})
    return replace(shipped, plan=shipped.plan.model_copy(update={"phases": phases}))


def of(experiment: Experiment, *slis: dict[str, Any], **plan: Any) -> list[Forecast]:
    limits = tuple(Sli(**sli) for sli in slis)
    update = {"slis": limits, "expects": Expects()} | plan
    return forecasts(replace(experiment, plan=experiment.plan.model_copy(update=update)), FIVE)


@pytest.mark.parametrize(
    ("sli", "expected", "needed"),
    [
        ({"measure": "error_ratio", "limit": 0.01, "window": "before"}, 100, 299),
        ({"measure": "error_ratio", "limit": 0.05, "window": "before"}, 100, 59),
        ({"measure": "p95_ms", "limit": 9, "window": "after"}, 50, 59),
        ({"measure": "p95_ms", "limit": 9, "window": "during"}, 160, 59),
        ({"measure": "p99_ms", "limit": 9, "window": "before"}, 100, 299),
        ({"measure": "p999_ms", "limit": 9, "window": "before"}, 100, 2995),
        ({"measure": "p50_ms", "limit": 9, "window": "before"}, 100, 30),
        ({"measure": "goodput_per_s", "limit": 4, "window": "before"}, 100, 97),
    ],
)
def test_the_requests_that_a_window_brings_are_compared_with_those_that_a_limit_needs(
    experiment: Experiment, sli: dict[str, Any], expected: float, needed: int
) -> None:
    (found,) = of(experiment, {"route": ORDERS} | sli)
    assert found.expected == pytest.approx(expected)
    assert found.needed == needed
    assert found.enough == (expected >= needed)
    assert f"needs {needed:,} requests, the window brings about {expected:,}" in found.text()
    assert found.text().endswith(": too few") or "too few;" in found.text() or found.enough


def test_the_smallest_error_ratio_that_a_window_decides_is_about_3_by_n(
    experiment: Experiment,
) -> None:
    (found,) = of(experiment, {"measure": "error_ratio", "limit": 0.01, "window": "before"})
    assert found.smallest == pytest.approx(0.0295, abs=0.0002)
    assert "the smallest error ratio that it can decide is 3%" in found.text()


def test_several_limits_share_the_confidence_of_the_run(experiment: Experiment) -> None:
    short = {"measure": "p95_ms", "limit": 9, "window": "after"}
    found = of(experiment, short, short, short)
    assert [each.needed for each in found] == [80] * 3  # at 1 - .05 / 3
    enough = {"measure": "p50_ms", "limit": 9, "window": "before"}
    assert of(experiment, short, enough, enough)[0].needed == 59


@pytest.mark.parametrize(
    ("sli", "why"),
    [
        ({"route": "GET /api/products", "measure": "p95_ms", "limit": 9}, "sends no such request"),
        ({"measure": "goodput_per_s", "limit": 5}, "brings 5/s, the limit is 5/s"),
    ],
)
def test_a_limit_that_no_run_of_this_load_decides_is_said(
    experiment: Experiment, sli: dict[str, Any], why: str
) -> None:
    (found,) = of(experiment, sli)
    assert not found.enough
    assert why in found.text()


def test_a_measure_that_must_not_change_needs_requests_in_both_windows(
    experiment: Experiment,
) -> None:
    expects = Expects.model_validate({"unchanged": {"margin": 0.1}})
    goodput, p99 = of(experiment, expects=expects)
    assert (goodput.expected, p99.expected) == (100, 100)
    assert goodput.enough
    assert 30 < goodput.needed <= 90
    assert (p99.enough, p99.needed) == (False, 299)


def test_the_start_of_a_run_says_in_one_line_what_it_can_decide(experiment: Experiment) -> None:
    found = of(
        experiment,
        {"measure": "p95_ms", "limit": 9, "window": "before"},
        {"name": "rare", "measure": "p99_ms", "limit": 9, "window": "before"},
    )
    assert one_line(found) == (
        "limits: this load can decide 1 of 2; rare (p99_ms of all routes before):"
        " needs 299 requests, the window brings about 100: too few"
    )


def test_a_dry_run_prints_the_arithmetic_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    assert lab(["run", "payments_slow", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("yes ") == 7
    assert "orders answered during (p80_ms of POST /api/orders during): needs " in shown
    assert lab(["run", "payments_slow", "--dry-run", "--json"]) == 0
    assert all(each["enough"] for each in json.loads(capsys.readouterr().out))
    assert lab(["run", "retry_storm", "--dry-run", "--profile", "metronome"]) == 2
    assert "brings 10/s, the limit is 12/s" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []

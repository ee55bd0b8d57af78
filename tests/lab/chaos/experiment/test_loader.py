"""Experiment files: Chaos Toolkit and the lab accept the shipped ones; an invalid one is refused with its line."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from chaoslib.experiment import ensure_experiment_is_valid

from lab.chaos.experiment.loader import (
    UnknownExperimentError,
    activities,
    experiment_files,
    load_experiment,
)
from lab.chaos.experiment.protection import Protection
from lab.chaos.experiment.yaml_lines import MalformedFileError
from lab.load.profiles import find_profile
from lab.topology import PROJECT

ROOT = PROJECT
FOLDER = ROOT / "experiments"
SHIPPED = [file.stem for file in experiment_files(FOLDER)]


def test_the_two_main_experiments_exist() -> None:
    assert {"payments_slow", "orders_crash"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_is_valid_for_the_toolkit_itself(name: str) -> None:
    ensure_experiment_is_valid(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))


@pytest.mark.parametrize("name", SHIPPED)
def test_unmodified_chaos_validate_accepts_a_shipped_experiment(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "chaostoolkit", "--no-version-check", "--no-log-file"),
            *("validate", FOLDER / f"{name}.yaml"),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'system'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_has_all_that_a_run_needs(name: str) -> None:
    experiment = load_experiment(name, FOLDER)
    assert experiment.hypothesis
    assert experiment.plan.claim
    assert experiment.plan.slis
    assert find_profile(experiment.plan.load)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_is_introduced_by_its_file_and_by_the_docs(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    head = text[: text.index("\ntitle:")]
    assert "?" in head
    assert f"lab run {name}" in head
    listed = (ROOT / "docs" / "experiments.md").read_text()
    experiment = load_experiment(name, FOLDER)
    protection = experiment.plan.protection
    about = ("-", "-")
    if isinstance(protection, Protection):
        about = (protection.what, protection.breaks)
    row = " | ".join((f"`{name}`", experiment.title, experiment.plan.claim, *about))
    assert f"| {row} |" in listed


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_requires_a_proxy_exactly_if_it_breaks_edges(name: str) -> None:
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    modules = {activity["provider"]["module"] for _, activity in activities(data)}
    assert load_experiment(name, FOLDER).plan.proxied == ("lab.chaos.edges" in modules)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_avoids_the_toolkits_traps(name: str) -> None:
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert data["runtime"]["rollbacks"]["strategy"] == "always"
    assert data["runtime"]["hypothesis"]["strategy"] == "continuously"
    assert data["rollbacks"]
    for _, activity in activities(data):
        assert "after" not in activity.get("pauses", {}), activity["name"]
        if activity["provider"].get("func") == "add_fault":
            assert activity["provider"]["arguments"]["ttl_s"] > 0


def test_the_error_for_an_unknown_experiment_has_the_nearest_name_and_the_list() -> None:
    with pytest.raises(UnknownExperimentError, match=r"Did you mean payments_slow\?.*orders_crash"):
        load_experiment("payment_slow", FOLDER)


GOOD = (FOLDER / "payments_slow.yaml").read_text()
PROTECTION = GOOD[GOOD.index("protection:") : GOOD.index("# This load and these windows")]


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "at", "complaint"),
    [
        ("title: A slow", "name: A slow", "name: A slow", "expected a title"),
        ("func: add_fault", "func: add_fold", "func: add_fold", "Did you mean add_fault?"),
        (
            "lab.chaos.actions",
            "lab.chaos.acts",
            "lab.chaos.acts",
            "no Python module 'lab.chaos.acts'",
        ),
        (
            "ttl_s: 32",
            "tll_s: 32",
            "arguments:\n        target: bank",
            "it takes target, kind, ttl_s",
        ),
        ("tolerance: [0, 0.5]", "tolerant: 1", "- name: a product's", "tolerance"),
        ("type: action", "type: akt", "type: akt", "Chaos Toolkit"),
        (
            "- name: breakwater\n    claim",
            "- name: other\n    claim",
            "extensions:",
            "no extension",
        ),
        ("load: ordering", "load: [ordering]", "load: [", "expected a load profile's name"),
        ("before_s: 30", "before: 30", "phases: {", "unknown; expected one of warmup_s"),
        ("after_s: 30", "after_s: soon", "phases: {", "expected a number of 0 or more, got 'soon'"),
        ("from: the breaker closes", "from: never", "recovery_from", "no activity of the method"),
        ("measure: p80_ms", "measure: mean", "- {name: orders answered before", "expected p95_ms"),
        (
            "error_ratio, limit: 0.05",
            "error_ratio, limit: 0",
            "- {name: orders without error before",
            "0 errors in n requests only show a ratio below about 3/n (299 requests: 1%",
        ),
        (
            "error_ratio, limit: 0.05",
            "error_ratio, limit: 1",
            "- {name: orders without error before",
            "can never be broken",
        ),
        (
            "p80_ms, limit: 500",
            "p80_ms, limit: 0",
            "- {name: orders answered before",
            "never be decided",
        ),
        (
            "measure: p80_ms",
            "measure: p00_ms",
            "- {name: orders answered before",
            "no percentile 0",
        ),
        (
            "measure: p80_ms",
            "measure: p100_ms",
            "- {name: orders answered before",
            "expected p95_ms (p01 to p99",
        ),
        ("window: before", "window: then", "- {name: orders answered before", "one of before"),
        (
            "load: ordering",
            "not_asked: {0: x}",
            "not_asked:",
            "expected the number of an invariant, got 0",
        ),
        ("load: ordering", "not_asked: {3: ''}", "not_asked:", "expected a reason, got ''"),
        (
            'edge: "payments->bank", opens',
            'edge: "bank", opens',
            'edge: "bank", op',
            "caller->callee",
        ),
        ("tags: [payments", "tags: [payments: [", "tags:", "expected YAML"),
        ("load: ordering", "proxied: 3", "proxied: 3", "expected true or false, got 3"),
        ("load: ordering", "guard: [{name: x}]", "guard: [", "lacks"),
        (
            "load: ordering",
            "guard: [{name: x, measure: goodput_per_s, limit: 1, for_s: 1}]",
            "guard: [",
            "expected error_ratio or p95_ms",
        ),
        (
            "load: ordering",
            "guard: [{name: x, tolerance: 1, for_s: 1, provider: {module: lab.chaos.probes, func: brows}}]",
            "guard: [",
            "Did you mean browse?",
        ),
        (
            PROTECTION,
            "protection: {what: x, without: {set: [OUTBOX]}, breaks: invariant 5}\n    ",
            "protection: {what",
            "expected NAME=value, as `lab up --set` takes it, got 'OUTBOX'",
        ),
        (
            PROTECTION,
            "protection: {what: x, without: {}, breaks: invariant 5}\n    ",
            "protection: {what",
            "expected set or restart_delay_s",
        ),
        (
            PROTECTION,
            "protection: {what: x, without: {restart_delay_s: 5}, breaks: orders answered}\n    ",
            "protection: {what",
            "no probe and no `invariant N`; did you mean 'orders answered",
        ),
        (
            PROTECTION,
            "protection: {no_switch: x, shown: invariant 5}\n    ",
            "protection: {no_switch",
            "unknown; expected one of no_switch, shows",
        ),
    ],
)
def test_a_malformed_experiment_is_refused_with_file_line_and_what_is_expected(
    tmp_path: Path, old: str, new: str, at: str, complaint: str
) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(MalformedFileError) as refused:
        load_experiment(str(path), FOLDER)
    assert complaint in str(refused.value)
    place = str(refused.value).removeprefix(f"{path}:").partition(":")[0]
    assert int(place) == line_of(text, at)


def test_guard_and_proxied_are_read(tmp_path: Path) -> None:
    rows = """load: ordering
    proxied: true
    guard:
      - {name: orders fail, route: POST /api/orders, measure: error_ratio, limit: 0.5, for_s: 3}
      - name: a page opens
        provider: {module: lab.chaos.probes, func: browse_seconds}
        tolerance: [0, 1]
        for_s: 2
"""
    path = tmp_path / "guarded.yaml"
    path.write_text(GOOD.replace("load: ordering\n", rows, 1))
    plan = load_experiment(str(path), FOLDER).plan
    assert plan.proxied
    assert [limit.name for limit in plan.guard] == ["orders fail", "a page opens"]
    assert not load_experiment("payments_slow", FOLDER).plan.proxied


@pytest.mark.parametrize("text", ["", "- 1\n", "just words\n", "\x00"])
def test_a_file_that_is_no_experiment_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(MalformedFileError, match="expected"):
        load_experiment(str(path), FOLDER)

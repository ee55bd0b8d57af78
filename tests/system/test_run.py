"""Whole runs on a real lab: the archive, the exit code, and nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lab.analysis.verdict.validity import ON_TIME
from lab.archive import Run
from lab.chaos.experiment.loader import find_experiment
from lab.chaos.faults.client import FaultClient
from lab.chaos.running_lab import find_lab
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.topology import PROJECT

pytestmark = pytest.mark.timeout(300)
ROOT = PROJECT
PATIENCE = (
    10  # the instrument is on trial here, not the machine: every limit in seconds, so many times
)


def lab_command(lab: ProcessesRuntime, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`lab ...` against the fixture's lab."""
    return subprocess.run(
        [sys.executable, "-m", "lab.cli", *arguments, "--port-base", str(lab.port_base), "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'system'}:{ROOT}"},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_load_keeps_every_request_and_delivers_what_was_planned(lab: ProcessesRuntime) -> None:
    done = lab_command(lab, "load", "light", "--duration", "5", "--seed", "7")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    run = Run(told["run"])
    assert told["load"]["planned"] == told["load"]["sent"] > 0
    orders = run.sql("SELECT count(*) FROM requests WHERE route = 'POST /api/orders'").fetchall()
    assert orders[0][0] > 0
    assert run.info["quiescence"]["reached"]
    assert "orders.orders" in run.states


def patient(experiment: str, folder: Path, phases: dict[str, float]) -> Path:
    """The experiment with PATIENCE in its steady state and its latency limits, and other `phases`."""
    data = yaml.safe_load(find_experiment(experiment).read_text())
    for probe in data["steady-state-hypothesis"]["probes"]:
        match probe["tolerance"]:
            case [0, most]:
                probe["tolerance"] = [0, most * PATIENCE]
    for sli in data["extensions"][0]["slis"]:
        if sli["measure"].endswith("_ms"):
            sli["limit"] *= PATIENCE
    data["extensions"][0]["phases"] |= phases
    file = folder / f"{experiment}.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


SHORT = {"warmup_s": 3, "before_s": 4, "method_s": 6, "recovery_s": 4, "after_s": 4}


@pytest.mark.lab_run
@pytest.mark.parametrize(
    ("experiment", "phases"),
    [
        pytest.param("orders_crash", SHORT, id="orders_crash-short"),
        pytest.param("orders_crash", {}, marks=pytest.mark.slow, id="orders_crash"),
        pytest.param("payments_slow", {}, marks=pytest.mark.slow, id="payments_slow"),
    ],
)
def test_a_run_disturbs_audits_and_leaves_nothing_behind(
    lab: ProcessesRuntime, experiment: str, phases: dict[str, float], tmp_path: Path
) -> None:
    file = patient(experiment, tmp_path, phases)
    done = lab_command(lab, "run", str(file), "--seed", "7", "--profile", "light")
    told = json.loads(done.stdout)
    run = Run(told["run"])
    verdict = run.verdict
    assert verdict is not None, done.stderr
    # on a busy machine latency may deviate and the load may come late, which makes the run unfit to
    # judge by (3) and nothing else; what the shop promises at any speed may not
    unfit = [each for each in verdict["validity"] if not each["ok"]]
    assert {each["name"] for each in unfit} <= {ON_TIME}, unfit
    assert verdict["exit_code"] in ((3,) if unfit else (0, 1)), verdict["reasons"]
    assert done.returncode == verdict["exit_code"]
    assert [each["status"] for each in verdict["invariants"] if each["claimed"]] == ["ok"] * 5
    assert [each["status"] for each in verdict["faults"]] == ["confirmed"]
    names = [phase["name"] for phase in run.info["phases"]]
    assert names == ["warmup", "before", "method", "recovery", "after", "drain"]
    assert run.info["residue"] == []
    assert FaultClient(find_lab(lab.port_base)).faults() == []
    assert (run.path / "report.html").is_file()

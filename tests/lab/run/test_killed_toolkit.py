"""A run whose Chaos Toolkit is killed is invalid: with a real toolkit and its real exit code."""

from __future__ import annotations

import signal
from pathlib import Path

import yaml

from lab.analysis.verdict.verdict import judge
from lab.archive import Run
from lab.run.children.chaos_process import ChaosProcess
from tests.fixtures.waiting import wait_until
from tests.lab.analysis.archives import edit, refit, write_archive

WAIT = {"type": "process", "path": "sleep", "arguments": "60"}
EXPERIMENT = {
    **{"title": "It waits", "description": "The method waits for a minute."},
    "steady-state-hypothesis": {"title": "All is well", "probes": []},
    "method": [{"type": "action", "name": "wait", "provider": WAIT}],
    "rollbacks": [],
}


def test_a_toolkit_that_is_killed_in_its_method_makes_the_run_invalid(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    toolkit = ChaosProcess(tmp_path, port_base=1)
    try:
        log = tmp_path / "chaos.out"
        wait_until(lambda: "Action: wait" in log.read_text(), "the method")
        toolkit.send(signal.SIGKILL)
        assert toolkit.wait(10.0)
    finally:
        toolkit.kill()
    assert toolkit.exit_code == -signal.SIGKILL
    assert not (tmp_path / "journal.json").exists()

    path = write_archive(tmp_path / "run")
    edit(path, "run.json", exit_codes={"chaos": toolkit.exit_code, "load": 0})
    (path / "journal.json").unlink()
    verdict = judge(Run(refit(path)))
    assert (verdict["verdict"], verdict["exit_code"]) == ("invalid", 3)
    assert "run.json: the exit code of chaos is -9" in verdict["reasons"][0]
    assert "journal.json is missing" in verdict["reasons"][0]

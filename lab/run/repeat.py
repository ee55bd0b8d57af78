"""`lab run --repeat`: repeats an experiment until all runs together decide it, and writes the pooled verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.analysis.verdict.answers import DEVIATED, EXIT_CODES, HELD, INVALID
from lab.archive import POOLED, Run, runs_folder
from lab.files import write_json
from lab.run.progress import ProgressReporter
from lab.run.runner import RunRequest, RunResult, lab_for_run, planned, run_experiment


@dataclass(frozen=True)
class Pool:
    """The runs that were made, the pooled verdict and its file."""

    results: list[RunResult]
    verdict: dict[str, Any]
    path: Path

    @property
    def exit_code(self) -> int:
        """The pooled verdict's; 3 if the last run was interrupted."""
        interrupted = Run(self.results[-1].path).info.get("interrupted")
        return EXIT_CODES[INVALID if interrupted else self.verdict["verdict"]]


def repeat_experiment(
    name: str, request: RunRequest, times: int, reporter: ProgressReporter
) -> Pool:
    """Up to `times` runs with the seeds seed, seed + 1, ... on one lab. Raises as `run_experiment`."""
    experiment, _ = planned(name, request.profile)
    with lab_for_run(request, reporter, proxied=experiment.plan.proxied):

        def run(seed: int) -> RunResult:
            return run_experiment(name, replace(request, seed=seed), reporter)

        return repeat(run, experiment.stem, request.seed, times, reporter)


def repeat(
    run: Callable[[int], RunResult], stem: str, seed: int, times: int, reporter: ProgressReporter
) -> Pool:
    """Run until the pool is held or deviated, or `times` runs are made, or one is interrupted."""
    from lab.analysis.verdict.pool import pool  # slow to import: numpy, pandas

    path = runs_folder() / f"{POOLED}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{stem}.json"
    results: list[RunResult] = []
    for number in range(times):
        results.append(run(seed + number))
        runs = [Run(each.path) for each in results]
        verdict = pool(runs, list(map(_verdict, results, runs)), times)
        write_json(path, verdict)
        reporter.message(f"after {number + 1} of {times} runs: {verdict['verdict']}")
        if verdict["verdict"] in (HELD, DEVIATED) or runs[-1].info.get("interrupted"):
            break
    return Pool(results, verdict, path)


def _verdict(result: RunResult, run: Run) -> dict[str, Any]:
    """The run's verdict; invalid if it was interrupted or had a problem."""
    if run.verdict is not None and not result.problems:
        return run.verdict
    return {"verdict": INVALID, "reasons": result.problems or ["it was interrupted"]}

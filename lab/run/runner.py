"""Plays a whole run: finds or starts the lab, makes the directory, tells the story, leaves it clean."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from lab.chaos.experiment.loader import Experiment
from lab.chaos.experiment.plan import ExperimentPlan
from lab.chaos.running_lab import NoLabError, find_lab
from lab.load.profiles import Profile
from lab.run.evidence.metadata import facts
from lab.run.evidence.recorder_client import RecorderRefusedError
from lab.run.guard.limits import limit_of
from lab.run.progress import ProgressReporter
from lab.run.run_dir import RunDir
from lab.run.sequence import RunScript, RunSequence
from lab.run.steps import LabSteps
from lab.runtimes.choose import runtime_of
from lab.state import StateError, chosen_port_base


@dataclass(frozen=True)
class RunResult:
    """The run's directory, and the exit code it deserves: 0 held, 1 deviated, 3 invalid."""

    path: Path
    exit_code: int
    problems: list[str]


@contextmanager
def lab_for_run(
    port_base: int,
    reporter: ProgressReporter,
    *,
    keep_up: bool = False,
    proxied: bool = False,
    runtime: str = "",
) -> Iterator[None]:
    """The running lab, else one of our own, which is taken down at the end unless `keep_up`.

    Raises StateError if the edges must be `proxied` and those of the running one are not.
    """
    chosen = runtime_of(port_base, runtime)
    try:
        mine = False
        if proxied and not find_lab(port_base).state.proxied:
            raise StateError(
                "this experiment breaks edges, and the running lab has no fault proxy on them:"
                " `lab down`, then `lab up --proxied` (or let `lab run` start a lab of its own)"
            )
        find_lab(port_base)
    except NoLabError:
        mine = True
    if mine:
        reporter.phase("starting the lab")
        up = chosen.up(proxied=proxied)
        reporter.message(f"the lab is up after {up.took_s:.1f} s: http://127.0.0.1:{port_base}")
    try:
        yield
    finally:
        if mine and not keep_up:
            reporter.phase("taking the lab down")
            chosen.down()


def run_experiment(
    experiment: Experiment,
    profile: Profile,
    *,
    seed: int,
    port_base: int | None,
    keep_up: bool,
    reporter: ProgressReporter,
    runtime: str = "",
) -> RunResult:
    """`lab run`, on the lab that is up, else on one of `runtime`. Raises StateError, RecorderRefusedError."""
    plan = experiment.plan
    script = RunScript(plan.phases, plan.load_s, True, plan.recovery_from)
    return _play(
        experiment.stem,
        experiment.path,
        script,
        profile,
        seed,
        port_base,
        keep_up,
        reporter,
        plan,
        runtime,
    )


def run_load(
    profile: Profile,
    *,
    seed: int,
    duration_s: float,
    port_base: int | None,
    keep_up: bool,
    reporter: ProgressReporter,
) -> RunResult:
    """`lab load`: the load alone, recorded and audited like a run. Raises StateError, RecorderRefusedError."""
    script = RunScript({"warmup_s": 0.0, "before_s": duration_s}, duration_s, has_method=False)
    return _play(f"load-{profile.name}", None, script, profile, seed, port_base, keep_up, reporter)


def _play(
    stem: str,
    experiment: Path | None,
    script: RunScript,
    profile: Profile,
    seed: int,
    chosen: int | None,
    keep_up: bool,
    reporter: ProgressReporter,
    plan: ExperimentPlan | None = None,
    runtime: str = "",
) -> RunResult:
    port_base = chosen_port_base(chosen)
    proxied = plan is not None and plan.proxied
    limits = [limit_of(row) for row in plan.guard] if plan else []
    own = lab_for_run(port_base, reporter, keep_up=keep_up, proxied=proxied, runtime=runtime)
    with stoppable(), own:
        if "recorder" not in find_lab(port_base).state.addresses:
            raise RecorderRefusedError(
                "this lab has no recorder (profile small): `lab down`, then `lab up --runtime compose`"
            )
        run = RunDir.make(stem, seed, experiment=experiment)
        reporter.message(f"run {run.path}")
        run.update(profile=profile.name, **facts(find_lab(port_base)))
        story = RunSequence(script, run, LabSteps(run, port_base, profile, seed, limits), reporter)
        try:
            exit_code = story.play()
        except RecorderRefusedError:
            shutil.rmtree(run.path)
            raise
        finally:
            run.close()
        return RunResult(run.path, exit_code, story.problems)


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM means the same as Ctrl-C: wind up, leave nothing behind."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""Runs an experiment or a load from start to end: lab, run directory, sequence, clean-up."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from lab.chaos.experiment.loader import Experiment, load_experiment
from lab.chaos.running_lab import NoLabError, find_lab
from lab.load.profiles import PAGE, Profile, find_profile
from lab.run.evidence.metadata import run_metadata
from lab.run.evidence.recorder_client import RecorderRefusedError
from lab.run.progress import ProgressReporter
from lab.run.run_dir import RunDir
from lab.run.sequence import RunScript, RunSequence
from lab.run.steps import LabSteps
from lab.runtimes.base import UpOptions
from lab.runtimes.choose import runtime_of
from lab.state import StateError, chosen_port_base


@dataclass(frozen=True)
class RunRequest:
    """The options of `lab run` and `lab load`.

    `profile` "": the experiment's own. `port_base` None: LAB_PORT_BASE, else the newest lab.
    `keep_up`: a lab that the run starts keeps running. `runtime` "": the default.
    """

    profile: str = ""
    seed: int = 1
    port_base: int | None = None
    keep_up: bool = False
    runtime: str = ""


@dataclass(frozen=True)
class RunResult:
    """The run's directory, its exit code (0 held, 1 deviated, 3 invalid, 4 undecided) and its problems."""

    path: Path
    exit_code: int
    problems: list[str]


def planned(name: str, profile: str = "") -> tuple[Experiment, Profile]:
    """The experiment and its load, both checked. Raises the errors of wrong usage."""
    experiment = load_experiment(name)
    return experiment, find_profile(profile or experiment.plan.load)


def run_experiment(name: str, request: RunRequest, reporter: ProgressReporter) -> RunResult:
    """`lab run`: on the running lab, else on a new one. Everything is checked before the start.

    Raises the errors that lab.run.exit_codes lists.
    """
    experiment, profile = planned(name, request.profile)
    plan = experiment.plan
    from lab.run.decidable import forecasts, one_line  # slow to import: numpy

    reporter.message(one_line(forecasts(experiment, profile)))
    script = RunScript(plan.phases.model_dump(), plan.load_s, True, plan.recovery_from)
    return _run(experiment.stem, script, profile, request, reporter, experiment)


def run_load(duration_s: float, request: RunRequest, reporter: ProgressReporter) -> RunResult:
    """`lab load`: a run without an experiment, on the running lab. Raises as `run_experiment`."""
    profile = find_profile(request.profile)
    find_lab(request.port_base)
    script = RunScript({"load_s": duration_s}, duration_s, has_method=False)
    return _run(f"load-{profile.name}", script, profile, request, reporter)


def run_page(request: RunRequest, reporter: ProgressReporter) -> RunResult:
    """`lab load --ui`: Locust's page until Ctrl-C, recorded as a load. Raises as `run_experiment`."""
    page = find_lab(request.port_base).state.addresses["locust_ui"]
    reporter.message(f"Locust's page: {page} (Ctrl-C ends the load and writes its report)")
    script = RunScript({}, math.inf, has_method=False, until_stopped=True)
    return _run("load-ui", script, None, request, reporter)


def _run(
    stem: str,
    script: RunScript,
    profile: Profile | None,
    request: RunRequest,
    reporter: ProgressReporter,
    experiment: Experiment | None = None,
) -> RunResult:
    """`profile` None: Locust's page."""
    plan = experiment.plan if experiment else None
    with (
        stoppable(),
        lab_for_run(request, reporter, proxied=plan is not None and plan.proxied) as port_base,
    ):
        if "recorder" not in find_lab(port_base).state.addresses:
            raise RecorderRefusedError(
                "this lab has no recorder (profile small): `lab down`, then `lab up --runtime compose`"
            )
        run = RunDir.make(stem, request.seed, experiment=experiment.path if experiment else None)
        reporter.message(f"run {run.path}")
        run.update(profile=profile.name if profile else PAGE, **run_metadata(find_lab(port_base)))
        if profile and not experiment:
            run.update(limits=[each.model_dump(exclude_unset=True) for each in profile.limit])
        steps = LabSteps(run, port_base, profile, request.seed, plan.guard if plan else ())
        sequence = RunSequence(script, run, steps, reporter)
        try:
            exit_code = sequence.execute()
        except RecorderRefusedError:
            shutil.rmtree(run.path)
            raise
        finally:
            run.close()
        return RunResult(run.path, exit_code, sequence.problems)


@contextmanager
def lab_for_run(
    request: RunRequest, reporter: ProgressReporter, *, proxied: bool = False
) -> Iterator[int]:
    """The port base of the running lab, else of a new one, which is stopped at the end unless `keep_up`.

    Raises StateError if the edges must be `proxied` and those of the running lab are not.
    """
    port_base = chosen_port_base(request.port_base)
    runtime = runtime_of(port_base, request.runtime)
    try:
        started = False
        if proxied and not find_lab(port_base).state.proxied:
            raise StateError(
                "this experiment breaks edges, and the running lab has no fault proxy on them:"
                " `lab down`, then `lab up --proxied` (or let `lab run` start a lab of its own)"
            )
        find_lab(port_base)
    except NoLabError:
        started = True
    if started:
        reporter.phase("starting the lab")
        up = runtime.up(UpOptions(proxied=proxied))
        reporter.message(f"the lab is up after {up.took_s:.1f} s: http://127.0.0.1:{port_base}")
    try:
        yield port_base
    finally:
        if started and not request.keep_up:
            reporter.phase("stopping the lab")
            runtime.down()


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM has the effect of Ctrl-C: rollbacks, then the archive."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

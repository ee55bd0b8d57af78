"""`lab run EXPERIMENT`: load, disturb, record, audit, judge, report."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lab.chaos.experiment.loader import EXPERIMENTS, load_experiment
from lab.load.profiles import find_profile
from lab.options import RuntimeName, checked_runtime
from lab.run.children.load_process import PROFILES
from lab.run.exit_codes import clear_exits
from lab.run.progress import make_reporter
from lab.run.runner import RunResult, run_experiment
from lab.run.summary import summary_lines, summary_of

PortBase = Annotated[int | None, typer.Option(help="the lab's port base (default: the newest lab)")]
Seed = Annotated[int, typer.Option(help="same seed, same arrivals and choices")]


def register(app: typer.Typer) -> None:
    @app.command("run")
    def run(
        experiment: Annotated[str, typer.Argument(help="a name in experiments/, or a file")],
        seed: Seed = 1,
        profile: Annotated[str, typer.Option(help="a load profile instead of its own")] = "",
        port_base: PortBase = None,
        keep_up: Annotated[bool, typer.Option(help="leave a lab it started running")] = False,
        runtime: RuntimeName = "",
        as_json: Annotated[bool, typer.Option("--json", help="the result as JSON")] = False,
    ) -> None:
        """Run an experiment. Exit: 0 held, 1 deviated, 2 usage, 3 invalid or interrupted."""
        with clear_exits():
            played = check_and_run(
                experiment, seed, profile, port_base, keep_up, quiet=as_json, runtime=runtime
            )
        if as_json:
            typer.echo(json.dumps(summary_of(played)))
        else:
            typer.echo("\n".join(summary_lines(played)))
        raise typer.Exit(played.exit_code)


def check_and_run(
    name: str,
    seed: int,
    profile: str,
    port_base: int | None,
    keep_up: bool,
    *,
    quiet: bool,
    runtime: str = "",
) -> RunResult:
    """Everything is checked before anything is started. Raises what lab.run.exit_codes knows."""
    chosen = checked_runtime(runtime)
    experiment = load_experiment(name, EXPERIMENTS)
    wanted = find_profile(profile or experiment.plan.profile, PROFILES)
    reporter = make_reporter(quiet)
    try:
        return run_experiment(
            experiment,
            wanted,
            seed=seed,
            port_base=port_base,
            keep_up=keep_up,
            reporter=reporter,
            runtime=chosen,
        )
    finally:
        reporter.close()

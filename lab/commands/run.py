"""`lab run EXPERIMENT`: load, faults, recording, audit, verdict, report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lab.options import AsJson, PortBase, RuntimeName, checked_runtime, print_json
from lab.run.exit_codes import USAGE, clear_exits
from lab.run.progress import progress_reporter
from lab.run.repeat import repeat_experiment
from lab.run.runner import RunRequest, RunResult, planned, run_experiment
from lab.run.summary import print_pool, print_summary

Seed = Annotated[
    int, typer.Option(help="The seed of the load: the same seed gives the same arrivals.")
]
KeepUp = Annotated[
    bool, typer.Option("--keep-up", help="Keep the lab running if this command started it.")
]


def run(
    experiment: Annotated[
        str, typer.Argument(help="The name of a file in experiments/, or a path.")
    ],
    seed: Seed = 1,
    profile: Annotated[
        str, typer.Option(help="A load profile. Default: the experiment's own.")
    ] = "",
    port_base: PortBase = None,
    keep_up: KeepUp = False,
    runtime: RuntimeName = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only print what each limit can decide; start nothing."),
    ] = False,
    times: Annotated[
        int,
        typer.Option(
            "--repeat",
            min=1,
            max=100,
            help="Run up to N times with the seeds SEED, SEED + 1, ..., until all runs together decide.",
        ),
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Run an experiment. Exit: 0 held, 1 deviated, 2 wrong usage, 3 invalid or interrupted, 4 undecided."""
    if dry_run:
        raise typer.Exit(_print_forecasts(experiment, profile, as_json))
    with clear_exits(), progress_reporter(quiet=as_json) as reporter:
        request = RunRequest(profile, seed, port_base, keep_up, checked_runtime(runtime))
        made = (
            run_experiment(experiment, request, reporter)
            if times == 1
            else repeat_experiment(experiment, request, times, reporter)
        )
    if isinstance(made, RunResult):
        print_summary(made, as_json)
    else:
        print_pool(made, as_json)
    raise typer.Exit(made.exit_code)


def _print_forecasts(experiment: str, profile: str, as_json: bool) -> int:
    """The exit code: 2 if there is a limit that no run of this load can decide."""
    from lab.run.decidable import forecasts

    with clear_exits():
        found = forecasts(*planned(experiment, profile))
    if as_json:
        print_json([asdict(each) | {"enough": each.enough} for each in found])
    else:
        typer.echo("\n".join(f"{'yes' if each.enough else 'NO':5}{each.text()}" for each in found))
    return USAGE if any(each.never for each in found) else 0

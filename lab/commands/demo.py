"""`lab demo`: one experiment, from no lab to the report, in two minutes."""

from __future__ import annotations

import typer

from lab.commands.run import KeepUp, Seed
from lab.options import AsJson, PortBase
from lab.run.exit_codes import clear_exits
from lab.run.progress import progress_reporter
from lab.run.runner import RunRequest, RunResult, run_experiment
from lab.run.summary import print_summary
from lab.state import chosen_port_base

EXPERIMENT = "payments_slow"


def demo(
    port_base: PortBase = None, seed: Seed = 1, keep_up: KeepUp = False, as_json: AsJson = False
) -> None:
    """Start the shop, make its bank slow under load, and print the verdict."""
    with clear_exits(), progress_reporter(quiet=as_json) as reporter:
        base = chosen_port_base(port_base)
        request = RunRequest(seed=seed, port_base=base, keep_up=keep_up)
        result = run_experiment(EXPERIMENT, request, reporter)
    print_summary(result, as_json)
    if not as_json:
        _print_next_steps(result, base, keep_up)
    # a shop that deviates is a result the demo has shown; an invalid or undecided run is a failed demo
    raise typer.Exit(0 if result.exit_code == 1 else result.exit_code)


def _print_next_steps(result: RunResult, base: int, keep_up: bool) -> None:
    typer.echo(f"\nNext: open {result.path / 'report.html'} in a browser")
    if keep_up:
        typer.echo(f"The shop is still up at http://127.0.0.1:{base}; `lab down` stops it")
    else:
        typer.echo("`lab up` starts the shop again; `lab run orders_crash` kills an instance")

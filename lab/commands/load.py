"""`lab load PROFILE`: open-loop load on the running lab, or Locust's own page with `--ui`; a run of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.commands.run import Seed
from lab.options import AsJson, PortBase
from lab.run.exit_codes import clear_exits
from lab.run.progress import progress_reporter
from lab.run.runner import RunRequest, run_load, run_page
from lab.run.summary import print_summary


def load(
    profile: Annotated[
        str, typer.Argument(help="A load profile: a table of loadtests/profiles.toml.")
    ] = "light",
    duration: Annotated[
        float, typer.Option(min=1.0, max=86_400.0, help="The seconds during which requests arrive.")
    ] = 60.0,
    seed: Seed = 1,
    ui: Annotated[
        bool, typer.Option("--ui", help="Open Locust's page instead, until Ctrl-C: a closed loop.")
    ] = False,
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Load the running shop, record every request, and report it.

    Exit: 0 done (the profile's limits, if any, are kept), 1 a limit is broken or an invariant violated,
    2 wrong usage, 3 failed or invalid, 4 undecided.
    """
    with clear_exits(), progress_reporter(quiet=as_json) as reporter:
        request = RunRequest(profile, seed, port_base)
        result = run_page(request, reporter) if ui else run_load(duration, request, reporter)
    print_summary(result, as_json)
    raise typer.Exit(result.exit_code)

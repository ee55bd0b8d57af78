"""`lab load PROFILE`: open-loop load on the running lab, or Locust's own page with `--ui`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.chaos.running_lab import find_lab
from lab.commands.run import Seed
from lab.options import AsJson, PortBase
from lab.run.children.child_process import child_environment
from lab.run.exit_codes import clear_exits
from lab.run.progress import progress_reporter
from lab.run.runner import RunRequest, run_load, stoppable
from lab.run.summary import print_summary
from lab.runtimes.posix.spawn import start
from lab.topology import PROJECT


def load(
    profile: Annotated[
        str, typer.Argument(help="A load profile: a table of loadtests/profiles.toml.")
    ] = "light",
    duration: Annotated[
        float, typer.Option(min=1.0, max=86_400.0, help="The seconds during which requests arrive.")
    ] = 60.0,
    seed: Seed = 1,
    ui: Annotated[
        bool, typer.Option("--ui", help="Open Locust's page instead: a closed loop.")
    ] = False,
    port_base: PortBase = None,
    as_json: AsJson = False,
) -> None:
    """Load the running shop and record every request. Exit: 0 done, 2 wrong usage, 3 failed."""
    with clear_exits(), progress_reporter(quiet=as_json) as reporter:
        if ui:
            raise typer.Exit(open_page(port_base, seed))
        request = RunRequest(profile, seed, port_base)
        result = run_load(duration, request, reporter)
    print_summary(result, as_json)
    raise typer.Exit(result.exit_code)


def open_page(port_base: int | None, seed: int) -> int:
    """Locust with its page in the foreground until Ctrl-C; its exit code. Raises NoLabError."""
    lab = find_lab(port_base)
    page = lab.state.addresses["locust_ui"]
    typer.echo(f"Locust is at {page} (Ctrl-C stops it)")
    command = [
        *(sys.executable, "-m", "locust", "-f", str(PROJECT / "loadtests/shop.py")),
        *("--host", lab.ingress_url, "--seed", str(seed)),
        *("--web-host", "127.0.0.1", "--web-port", page.rpartition(":")[2]),
    ]
    with stoppable():
        # its own process group: it stops when this process stops it, or with this process
        process = start(
            command,
            output=sys.stderr.fileno(),
            cwd=PROJECT,
            env=child_environment(Path(lab.state.home) / "home"),
        )
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            return 0

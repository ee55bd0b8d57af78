"""`lab load PROFILE`: open-loop load on the running lab, or Locust's own page with `--ui`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from lab.chaos.running_lab import find_lab
from lab.commands.run import PortBase, Seed
from lab.load.profiles import find_profile
from lab.run.children.child_process import child_environment
from lab.run.children.load_process import PROFILES
from lab.run.exit_codes import clear_exits
from lab.run.progress import make_reporter
from lab.run.runner import run_load, stoppable
from lab.run.summary import summary_lines, summary_of
from lab.runtimes.posix.spawn import start
from lab.topology import PROJECT


def register(app: typer.Typer) -> None:
    @app.command("load")
    def load(
        profile: Annotated[
            str, typer.Argument(help="a table of loadtests/profiles.toml")
        ] = "light",
        duration: Annotated[float, typer.Option(min=1.0, help="seconds of arrivals")] = 60.0,
        seed: Seed = 1,
        ui: Annotated[bool, typer.Option(help="Locust's page, a closed loop")] = False,
        port_base: PortBase = None,
        as_json: Annotated[bool, typer.Option("--json", help="the result as JSON")] = False,
    ) -> None:
        """Load the running shop and keep every request. Exit: 0 done, 2 usage, 3 not delivered."""
        with clear_exits():
            if ui:
                raise typer.Exit(open_page(port_base, seed))
            wanted = find_profile(profile, PROFILES)
            find_lab(port_base)  # `lab run` starts a lab of its own, a load wants the one that runs
            reporter = make_reporter(quiet=as_json)
            try:
                played = run_load(
                    wanted,
                    seed=seed,
                    duration_s=duration,
                    port_base=port_base,
                    keep_up=True,
                    reporter=reporter,
                )
            finally:
                reporter.close()
        if as_json:
            typer.echo(json.dumps(summary_of(played)))
        else:
            typer.echo("\n".join(summary_lines(played)))
        raise typer.Exit(played.exit_code)


def open_page(port_base: int | None, seed: int) -> int:
    """Locust with its page in the foreground until Ctrl-C; its exit code. Raises NoLabError."""
    lab = find_lab(port_base)
    page = lab.state.addresses["locust_ui"]
    typer.echo(f"Locust is at {page} (Ctrl-C ends it)")
    command = [
        *(sys.executable, "-m", "locust", "-f", str(PROJECT / "loadtests/shop.py")),
        *("--host", lab.ingress_url, "--seed", str(seed)),
        *("--web-host", "127.0.0.1", "--web-port", page.rpartition(":")[2]),
    ]
    with stoppable():
        # a process group of its own: it ends when we say so, or, whatever ends us, with us
        process = start(command, output=sys.stderr.fileno(), cwd=PROJECT, env=child_environment())
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            return 0

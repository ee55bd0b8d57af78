"""`lab demo`: one experiment from nothing to its report, in two minutes."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.commands.run import PortBase, check_and_run
from lab.run.exit_codes import clear_exits
from lab.run.summary import summary_lines
from lab.state import chosen_port_base

EXPERIMENT = "payments_slow"


def register(app: typer.Typer) -> None:
    @app.command("demo")
    def demo(
        port_base: PortBase = None,
        seed: Annotated[int, typer.Option(help="of the load")] = 1,
        keep_up: Annotated[bool, typer.Option(help="leave the lab running")] = False,
    ) -> None:
        """Start the shop, slow its bank down under load, and say what happened."""
        with clear_exits():
            base = chosen_port_base(port_base)
            played = check_and_run(EXPERIMENT, seed, "", base, keep_up, quiet=False)
        typer.echo("\n".join(summary_lines(played)))
        typer.echo(f"\nLook further: open {played.path / 'report.html'} in a browser")
        if keep_up:
            typer.echo(f"The shop is still up at http://127.0.0.1:{base}; `lab down` ends it")
        else:
            typer.echo("`lab up` starts the shop again; `lab run orders_crash` kills an instance")
        # a shop that deviates is a finding, and the demo has shown it; a run that proves nothing has failed
        raise typer.Exit(0 if played.exit_code == 1 else played.exit_code)

"""`lab doctor`."""

from dataclasses import asdict

import typer

from lab.options import AsJson, PortBase, console, print_json
from lab.state import chosen_port_base


def doctor(port_base: PortBase = None, as_json: AsJson = False) -> None:
    """Check whether this machine can run a lab. Exit code 1 if it cannot."""
    from lab import doctor as checks

    found = checks.examine(chosen_port_base(port_base))
    fit = all(check.ok for check in found)
    if as_json:
        print_json({"fit": fit, "checks": [asdict(check) for check in found]})
    else:
        out = console()
        for check in found:
            mark = "[green]ok[/]  " if check.ok else "[red]no[/]  "
            out.print(f"{mark}{check.name:12} {check.detail}")
            if check.advice:
                out.print(f"{'':17}{check.advice}", style="yellow")
        out.print(
            "This machine can run a lab." if fit else "[red]This machine cannot run a lab yet.[/]"
        )
    raise typer.Exit(0 if fit else 1)

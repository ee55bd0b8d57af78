"""`lab bench`: runs programs of bench/; each one prints its figures as JSON."""

import json
import subprocess
import sys
from typing import Annotated, Any

import typer

from lab.nearest import nearest
from lab.options import AsJson, print_json
from lab.topology import PROJECT

FOLDER = PROJECT / "bench"
DEFAULT = ("shop", "resilience")  # others take minutes


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="Programs of bench/. Default: shop, resilience.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the lab itself. Exit 1 if a benchmark fails."""
    known = sorted(path.stem for path in FOLDER.glob("*.py"))
    wanted = names or [name for name in DEFAULT if name in known]
    for name in wanted:
        if name not in known:
            typer.echo(f"lab bench: no benchmark {name!r}{nearest(name, known)}", err=True)
            raise typer.Exit(2)
    figures: dict[str, Any] = {}
    for name in wanted:
        typer.echo(f"measuring {name} ...", err=True)
        program = [sys.executable, str(FOLDER / f"{name}.py")]
        done = subprocess.run(program, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            typer.echo(f"lab bench: {name} ended with {done.returncode}", err=True)
            raise typer.Exit(1)
        figures[name] = json.loads(done.stdout)
    if as_json:
        print_json(figures)
    else:
        typer.echo(json.dumps(figures, indent=2))

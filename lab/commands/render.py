"""`lab render`: write what is generated from the topology, or check that what is committed is it."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.options import AsJson, console, print_json

DIFFERENCE_LINES_MAX = 12


def register(app: typer.Typer) -> None:
    app.command()(render)


def render(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Which: nginx, dashboards, ... Default: all."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file differs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write every generated file from system/topology.toml and its source."""
    from lab.render import render as files
    from lab.topology import load

    told = []
    for file in files(load(), names or ()):
        difference = file.difference()
        if difference and not check:
            file.write()
        told.append(
            {"renderer": file.renderer, "path": file.path, "same": not difference}
            | ({"difference": difference} if difference else {})
        )
    if as_json:
        print_json(told)
    else:
        for each in told:
            word = "same     " if each["same"] else "differs  " if check else "written  "
            console().print(f"{word} {each['path']}", markup=False)
            if check and not each["same"]:
                lines = str(each["difference"]).splitlines()
                console().print("\n".join(lines[:DIFFERENCE_LINES_MAX]), markup=False)
    if check and not all(each["same"] for each in told):
        if not as_json:
            console().print("run `lab render`, look at the change, commit it", markup=False)
        raise typer.Exit(1)

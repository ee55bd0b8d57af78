"""`lab report`: write a run's report again, or a picture of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.options import AsJson, console, print_json

RunName = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="A run's directory or name. Default: the newest."),
]


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(
    run: RunName = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also a picture of it, e.g. for a README.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run again, from its archive alone."""
    from lab.archive import find_run
    from lab.report import write_report

    path = find_run(run)
    told = {"run": str(path), "report": str(write_report(path))}
    lines = [f"report    {told['report']}"]
    if png is not None:
        from lab.report.picture import write_picture

        how = write_picture(path, png)
        told["png"] = str(png)
        lines.append(f"picture   {png} ({how})")
    if as_json:
        print_json(told)
    else:
        console().print("\n".join(lines), markup=False)

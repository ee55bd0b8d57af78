"""`lab report`: writes a run's report again, and a picture of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.options import AsJson, console, print_json

RunName = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="A run's directory, its name, a unique part of the name, or `latest` (default).",
    ),
]


def report(
    run: RunName = None,
    png: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a picture of the report to this file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run again, from its archive alone."""
    from lab.archive import find_run
    from lab.report import write_report

    path = find_run(run)
    written = {"run": str(path), "report": str(write_report(path))}
    lines = [f"report    {written['report']}"]
    if png is not None:
        from lab.report.picture import write_picture

        how = write_picture(path, png)
        written["png"] = str(png)
        lines.append(f"picture   {png} ({how})")
    if as_json:
        print_json(written)
    else:
        console().print("\n".join(lines), markup=False)

"""`lab runs`: lists the recorded runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.options import AsJson, console, print_json


def runs(
    last: Annotated[
        int, typer.Option(min=1, help="The number of runs to list, the newest last.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs and the pooled verdicts: name, verdict, requests, size, report."""
    from lab.archive import POOLED, list_pooled, list_runs, runs_folder

    paths = sorted([*list_runs(), *list_pooled()], key=lambda path: path.name.removeprefix(POOLED))
    rows = [_about(path) for path in paths[-last:]]
    if as_json:
        print_json(rows)
    elif not rows:
        console().print(f"no run in {runs_folder()}; `lab run payments_slow` makes one")
    else:
        from rich.table import Table

        table = Table("run", "verdict", "requests", "size", "report", box=None, pad_edge=False)
        for each in rows:
            size = f"{each['bytes'] / 2**20:.1f} MB"
            requests = "" if each["requests"] is None else f"{each['requests']:,}"
            has_report = "yes" if each["report"] else "no"
            table.add_row(
                each["run"], each["verdict"] or each["problem"], requests, size, has_report
            )
        console().print(table)


def _about(path: Any) -> dict[str, Any]:
    """One row of the list. A damaged run has a `problem` and does not stop the list."""
    from lab.archive import ArchiveError, Run

    about: dict[str, Any] = {"run": path.name, "path": str(path), "verdict": None, "problem": ""}
    if path.is_file():
        return about | _pooled(path)
    about["bytes"] = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    about["report"] = (path / "report.html").is_file()
    about["requests"] = None
    try:
        run = Run(path)
        about["verdict"] = (run.verdict or {}).get("verdict")
        about["requests"] = len(run.requests)
        about["problem"] = "" if about["verdict"] else "not judged"
    except ArchiveError as error:
        about["problem"] = f"damaged: {error}"
    return about


def _pooled(path: Path) -> dict[str, Any]:
    """The rest of a row for a pooled verdict of several runs."""
    row = {"run": path.stem, "bytes": path.stat().st_size, "report": False, "requests": None}
    try:
        found = json.loads(path.read_text())
        return row | {"verdict": found["verdict"], "problem": ""}
    except (ValueError, KeyError) as error:
        return row | {"verdict": None, "problem": f"damaged: {error}"}

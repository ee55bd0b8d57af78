"""`lab render`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lab.options import AsJson, console, print_json

DIFFERENCE_LINES_MAX = 12


def render(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="nginx, compose, dashboards, ... Default: all."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file is not up to date.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write every file generated from system/topology.toml; check the files that repeat it by hand."""
    from lab.render import checks
    from lab.render import render as files
    from lab.topology import load

    topology = load()
    results: list[dict[str, Any]] = []
    for file in files(topology, names or ()):
        difference = file.difference()
        if difference and not check:
            file.write()
        results.append(_result(file.renderer, file.path, difference))
    if not names:
        checked = checks.check(topology)
        results += [_result("checks", each.path, "\n".join(each.problems)) for each in checked]
    if as_json:
        print_json(results)
    else:
        for each in results:
            _print(each, check=check)
    wrong = [each for each in results if not each["same"]]
    if not check:
        wrong = [each for each in wrong if each["renderer"] == "checks"]
    elif wrong and not as_json:
        console().print("run `lab render`, look at the change, commit it", markup=False)
    raise typer.Exit(1 if wrong else 0)


def _result(renderer: str, path: str, difference: str) -> dict[str, Any]:
    result: dict[str, Any] = {"renderer": renderer, "path": path, "same": not difference}
    return result | ({"difference": difference} if difference else {})


def _print(result: dict[str, Any], *, check: bool) -> None:
    by_hand = result["renderer"] == "checks"
    if result["same"]:
        word = "checked  " if by_hand else "same     "
    else:
        word = "differs  " if check or by_hand else "written  "
    console().print(f"{word} {result['path']}", markup=False)
    if word.startswith("differs"):
        lines = str(result["difference"]).splitlines()
        console().print("\n".join(lines[:DIFFERENCE_LINES_MAX]), markup=False)

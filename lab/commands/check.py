"""`lab check`: judges a run again from its archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import typer

from lab.archive.errors import ArchiveError
from lab.commands.report import RunName
from lab.options import AsJson, console, print_json

MARKS = {"ok": "holds", "violated": "VIOLATED", "empty": "empty", "no_data": "NO DATA"}


def check(run: RunName = None, as_json: AsJson = False) -> None:
    """Judge a run again. Exit: 0 held, 1 deviated, 3 invalid, 4 undecided; 2 if the archive cannot be read."""
    from lab.analysis.verdict.verdict import write_verdict
    from lab.archive import find_run

    path = find_run(run)
    try:
        verdict = write_verdict(path)
    except ArchiveError as error:
        _refuse(path, error, as_json)
    if as_json:
        import json

        print_json({"run": str(path)} | json.loads((path / "verdict.json").read_text()))
    else:
        console().print("\n".join(_lines(str(path), verdict)), markup=False)
    raise typer.Exit(verdict["exit_code"])


def _refuse(path: Path, error: ArchiveError, as_json: bool) -> NoReturn:
    """For an archive that cannot be read: names what contradicts its manifest, and ends with 3."""
    from lab.archive.manifest import MANIFEST, contradictions

    if not (path / MANIFEST).is_file() or not (changed := contradictions(path)):
        raise error
    if as_json:
        print_json({"run": str(path), "verdict": "invalid", "exit_code": 3, "reasons": changed})
    else:
        lines = [f"{'INVALID':10}{path}", *(f"          {each}" for each in (*changed, error))]
        console().print("\n".join(lines), markup=False)
    raise typer.Exit(3) from None


def _lines(path: str, verdict: dict[str, Any]) -> list[str]:
    from lab.analysis.verdict.expectations import Expectation  # slow to import: numpy, pandas
    from lab.analysis.verdict.slis import SliResult

    lines = [f"{verdict['verdict'].upper():10}{verdict['claim'] or path}"]
    lines += [f"          {reason}" for reason in verdict["reasons"]]
    for each in verdict["validity"]:
        lines.append(
            f"{'yes' if each['ok'] else 'NO':10}{each['name']}: {each['detail']}".rstrip(": ")
        )
    lines += [_answer(each, SliResult(**each).text(), _what(each)) for each in verdict["sli"]]
    lines += [_answer(each, Expectation(**each).text()) for each in verdict["expectations"]]
    for each in verdict["invariants"]:
        found = f"{each['checked']:,} checked, {each['violations']} violations"
        if each["not_asked"]:
            found += f" (not asked: {each['not_asked']})"
        lines.append(f"{MARKS[each['status']]:10}{each['id']} {each['name']}: {found}")
        lines += [f"            {example}" for example in each["examples"]]
    return lines


def _answer(judged: dict[str, Any], text: str, what: str = "") -> str:
    """Only what is not as claimed is in capitals."""
    answer = judged["answer"] if judged["answer"] == "kept" else judged["answer"].upper()
    return f"{answer:10}{text}{f' [{what}]' if what else ''}"


def _what(sli: dict[str, Any]) -> str:
    """E.g. `p95_ms of POST /api/orders, during, 412 requests`."""
    return f"{sli['measure']} of {sli['route'] or 'all routes'}, {sli['window']}, {sli['requests']:,} requests"

"""A run in ten lines: what was asked, what came out, where to look; read from the archive alone."""

from __future__ import annotations

from typing import Any

from lab.archive import ArchiveError, Run
from lab.run.runner import RunResult

ROUTES = """
    SELECT route, count(*) AS requests,
           quantile_cont(1000 * (end_s - intended_start_s), 0.5) AS p50_ms,
           quantile_cont(1000 * (end_s - intended_start_s), 0.95) AS p95_ms,
           quantile_cont(1000 * (end_s - intended_start_s), 0.99) AS p99_ms,
           count(*) FILTER (outcome <> 'ok') AS errors
    FROM requests GROUP BY route ORDER BY requests DESC
"""


def summary_of(played: RunResult) -> dict[str, Any]:
    """verdict (None for a load alone or a run cut short), reasons, load, routes, paths."""
    run = Run(played.path)
    verdict = run.verdict or {}
    report = played.path / "report.html"
    return {
        "run": str(played.path),
        "verdict": verdict.get("verdict"),
        "exit_code": played.exit_code,
        "reasons": [*played.problems, *verdict.get("reasons", [])],
        "claim": verdict.get("claim"),
        "hypothesis": (verdict.get("hypothesis") or {}).get("title"),
        "interrupted": run.info.get("interrupted", False),
        "load": run.info.get("load"),
        "sli": verdict.get("sli", []),
        "invariants": [each for each in verdict.get("invariants", []) if each.get("claimed", True)],
        "routes": _routes(run),
        "report": str(report) if report.is_file() else None,
    }


def summary_lines(played: RunResult) -> list[str]:
    """For a terminal: about ten lines."""
    try:
        told = summary_of(played)
    except ArchiveError as error:
        return [f"run       {played.path}", f"          {error}"]
    lines = []
    if told["verdict"]:
        lines.append(f"verdict   {told['verdict'].upper()}: {told['claim']}")
    elif told["interrupted"]:
        lines.append("verdict   none: interrupted")
    lines += [f"          {reason}" for reason in told["reasons"][:4]]
    if load := told["load"]:
        lines.append(
            f"load      {load['sent']:,} of {load['planned']:,} arrivals sent, {load['dropped']} dropped"
        )
    lines += [_route_line(route) for route in told["routes"][:3]]
    if slis := told["sli"]:
        kept = sum(bool(each["ok"]) for each in slis)
        lines.append(f"SLIs      {kept} of {len(slis)} kept")
    if invariants := told["invariants"]:
        states = ", ".join(f"{each['id']} {each['status']}" for each in invariants)
        lines.append(f"invariants {states}")
    if told["report"]:
        lines.append(f"report    {told['report']}")
    lines.append(f"archive   {told['run']}")
    return lines


def _routes(run: Run) -> list[dict[str, Any]]:
    found = run.sql(ROUTES)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def _route_line(route: dict[str, Any]) -> str:
    p50, p95, p99 = (
        "-" if route[name] is None else f"{route[name]:.0f}"
        for name in ("p50_ms", "p95_ms", "p99_ms")
    )
    return (
        f"          {route['route']:<24} {route['requests']:>6,} requests,"
        f" p50 {p50}, p95 {p95}, p99 {p99} ms, {route['errors']} errors"
    )

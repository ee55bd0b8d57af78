"""The summary of a run in ten lines: verdict, load, limits, invariants, paths; from the archive alone."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import typer

from lab.analysis.latency import shopper_requests
from lab.analysis.verdict.answers import Answer
from lab.archive import ArchiveError, Run
from lab.run.repeat import Pool
from lab.run.runner import RunResult

ROUTES = """
    SELECT route, count(*) AS requests, sum(attempts)::BIGINT AS attempts,
           quantile_cont(1000 * response_s, 0.5) AS p50_ms,
           quantile_cont(1000 * response_s, 0.95) AS p95_ms,
           quantile_cont(1000 * response_s, 0.99) AS p99_ms,
           count(*) FILTER (outcome IS DISTINCT FROM 'ok') AS errors
    FROM shopper_requests GROUP BY route ORDER BY requests DESC, route
"""


def print_summary(result: RunResult, as_json: bool = False) -> None:
    """On stdout, for a terminal or as one line of JSON."""
    text = json.dumps(summary_of(result)) if as_json else "\n".join(summary_lines(result))
    typer.echo(text)


def print_pool(pool: Pool, as_json: bool = False) -> None:
    """The pooled verdict of repeated runs, on stdout."""
    if as_json:
        typer.echo(json.dumps(pool.verdict | {"pooled": str(pool.path)}))
        return
    verdict = pool.verdict
    lines = [f"verdict   {verdict['verdict'].upper()}: {verdict['claim']}"]
    lines += [f"          {reason}" for reason in verdict["reasons"]]
    lines += [f"run       {each['run']}: {each['verdict']}" for each in verdict["runs"]]
    lines += [
        f"run       {each['run']}: invalid, not pooled ({'; '.join(each['reasons'][:1])})"
        for each in verdict["not_pooled"]
    ]
    lines += [f"{each['answer']:10}{each['name']}: {each['detail']}" for each in verdict["limits"]]
    typer.echo("\n".join([*lines, f"pooled    {pool.path}"]))


def summary_of(result: RunResult) -> dict[str, Any]:
    """verdict (None for an interrupted run), reasons, load, routes, paths."""
    from lab.analysis import machine  # slow to import: numpy, pandas

    run = Run(result.path)
    verdict = run.verdict or {}
    report = result.path / "report.html"
    return {
        "run": str(result.path),
        "verdict": verdict.get("verdict"),
        "exit_code": result.exit_code,
        "reasons": [*result.problems, *verdict.get("reasons", [])],
        "undecided": verdict.get("undecided", []),
        "claim": verdict.get("claim"),
        "hypothesis": (verdict.get("hypothesis") or {}).get("title"),
        "interrupted": run.info.get("interrupted", False),
        "load": run.info.get("load"),
        "sli": verdict.get("sli", []),
        "invariants": verdict.get("invariants", []),
        "machine": machine.summary(run),
        "routes": _routes(run),
        "report": str(report) if report.is_file() else None,
    }


def summary_lines(result: RunResult) -> list[str]:
    """The summary for a terminal."""
    try:
        summary = summary_of(result)
    except ArchiveError as error:
        return [f"run       {result.path}", f"          {error}"]
    lines = []
    if summary["verdict"]:
        lines.append(f"verdict   {summary['verdict'].upper()}: {summary['claim']}".rstrip(": "))
    elif summary["interrupted"]:
        lines.append("verdict   none: interrupted")
    lines += [f"          {reason}" for reason in summary["reasons"][:4]]
    if load := summary["load"]:
        lines.append(
            f"load      {load['sent']:,} of {load['planned']:,} arrivals sent, {load['dropped']} dropped"
        )
    if summary["machine"]:
        lines.append(f"machine   {summary['machine']}")
    lines += [_route_line(route) for route in summary["routes"][:3]]
    if slis := summary["sli"]:
        answers = Counter(each["answer"] for each in slis)
        counts = ", ".join(f"{answers[answer]} {answer}" for answer in Answer)
        lines.append(f"limits    {counts}")
    if invariants := summary["invariants"]:
        lines.append(_invariants_line(invariants))
    if summary["report"]:
        lines.append(f"report    {summary['report']}")
    lines.append(f"archive   {summary['run']}")
    return lines


def _routes(run: Run) -> list[dict[str, Any]]:
    """What shoppers experienced by route: a request with all its attempts counts once, by its last answer."""
    shopper_requests(run)
    found = run.sql(ROUTES)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def _invariants_line(invariants: list[dict[str, Any]]) -> str:
    """How many hold, the ids of the others by status, and those not asked with their reasons."""
    asked = [each for each in invariants if not each["not_asked"]]
    others: dict[str, list[str]] = {}
    for each in asked:
        if each["status"] != "ok":
            others.setdefault(each["status"], []).append(str(each["id"]))
    parts = [f"invariants {sum(each['status'] == 'ok' for each in asked)} of {len(asked)} hold"]
    parts += [f"{status.replace('_', ' ')}: {', '.join(ids)}" for status, ids in others.items()]
    parts += [
        f"not asked: {each['id']} ({each['not_asked']})" for each in invariants if each["not_asked"]
    ]
    return "; ".join(parts)


def _route_line(route: dict[str, Any]) -> str:
    p50, p95, p99 = (
        "-" if route[name] is None else f"{route[name]:.0f}"
        for name in ("p50_ms", "p95_ms", "p99_ms")
    )
    more = route["attempts"] > route["requests"]
    attempts = f" in {route['attempts']:,} attempts" if more else ""
    return (
        f"          {route['route']:<24} {route['requests']:>6,} requests{attempts},"
        f" p50 {p50}, p95 {p95}, p99 {p99} ms, {route['errors']} errors"
    )

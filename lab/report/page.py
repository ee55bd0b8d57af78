"""Renders report.html from an archive and its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from matplotlib.figure import Figure

from lab.analysis import latency, orders, plots
from lab.analysis.activities import activities
from lab.analysis.latency import shopper_requests
from lab.analysis.load_figures import load_figures
from lab.analysis.tracing.traces import Traces
from lab.analysis.verdict.claim import claim_of
from lab.analysis.verdict.slis import SliResult
from lab.analysis.verdict.verdict import write_verdict
from lab.analysis.windows import fault_bands, is_disturbed, load_span
from lab.archive import Run
from lab.files import write_atomic
from lab.report import words
from lab.report.links import links, pages_of
from lab.report.redo import redo
from lab.report.sentences import about_orders, within_limits

ORDER = "POST /api/orders"
SLOWEST = 5
TRACES_MAX = 3000  # enough for means by hop; the notebook reads more


def write_report(run_dir: Path | str) -> Path:
    """Write `report.html` into the run's directory and return its path.

    A run without a verdict is judged first. Raises ArchiveError if the archive cannot be read.
    """
    run = Run(run_dir)
    if run.verdict is None:
        write_verdict(run_dir)
    path = run.path / "report.html"
    write_atomic(path, render(run))
    return path


def render(run: Run) -> str:
    """The page as text. The run must have a verdict."""
    verdict = run.verdict
    assert verdict is not None, "judge the run first: lab.analysis.verdict.verdict.write_verdict"
    traces = Traces(run, TRACES_MAX)
    environment = Environment(
        loader=PackageLoader("lab.report", "."),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(words, name)
        for name in ("figure", "ratio", "interval", "ends", "more", "mark", "example", "duration")
    }
    return environment.get_template("template.html").render(
        run=run,
        info=run.info,
        verdict=verdict,
        claim=claim_of(run),
        headline=words.headline(verdict, run.is_load),
        advice=words.ADVICE[verdict["verdict"]],
        quantity=words.quantity,
        when=_when(run),
        links=links(run),
        tiles=_tiles(run, verdict),
        activities=activities(run),
        within=within_limits(run, verdict),
        load_figures=load_figures(run) if run.is_load else [],
        routes=_routes(run) if is_disturbed(run) else [],
        about_orders=about_orders(run),
        redo=redo(run),
        bands=fault_bands(run),
        breakers=[each for each in verdict["breakers"] if each["opened"] or each["rejections"]],
        quiet_breakers=sum(
            not (each["opened"] or each["rejections"]) for each in verdict["breakers"]
        ),
        figures=_figures(run, verdict, traces),
        slowest=_slowest(run, traces),
    )


def _figures(run: Run, verdict: dict[str, Any], traces: Traces) -> dict[str, Markup]:
    """The plots as inline SVG, by name. matplotlib escapes their texts."""
    slis = [SliResult(**each) for each in verdict["sli"]]
    by_hop = plots.time_by_hop if is_disturbed(run) else plots.mean_time_by_hop
    drawn: dict[str, Callable[[], Figure]] = {
        "overview": lambda: plots.overview(run),
        "timeline": lambda: plots.timeline(run),
        "latency": lambda: plots.latency_over_time(run),
        "answers": lambda: plots.answers_over_time(run),
        "breakers": lambda: plots.breaker_timeline(run),
        "orders": lambda: plots.orders_over_time(run),
        "limits": lambda: plots.sli_chart(slis),
        "load": lambda: plots.load_delivered(run),
        "hops": lambda: by_hop(traces, _route(traces)),
    }
    return {name: Markup(plots.svg(draw(), name)) for name, draw in drawn.items()}


def _tiles(run: Run, verdict: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The key figures at the top: (value, its name, a note)."""
    total, errors = (
        shopper_requests(run)
        .aggregate("count(*), count(*) FILTER (outcome IS DISTINCT FROM 'ok')")
        .fetchall()[0]
    )
    counted = orders.totals(run)
    answers = Counter(each["answer"] for each in verdict["sli"])
    asked = [
        each
        for each in verdict["invariants"]
        if not each.get("not_asked") and each["status"] != "empty"
    ]
    kept = sum(each["status"] == "ok" for each in asked)
    confirmed = sum(each["status"] == "confirmed" for each in verdict["faults"])
    pending = counted["placed"] - counted["confirmed"] - counted["cancelled"]
    became = f"{counted['confirmed']:,} confirmed, {counted['cancelled']:,} cancelled"
    became += f", {pending:,} pending" if pending > 0 else ""
    tiles = [
        (f"{total:,}", "requests", f"{errors:,} failed or unknown"),
        (f"{counted['placed']:,}", "orders placed", became),
        (f"{answers['kept']}/{len(verdict['sli'])}", "limits kept",
         f"{answers['broken']} broken, {answers['undecided']} undecided"),
        (f"{kept}/{len(asked)}", "invariants hold", ""),
        (f"{confirmed}/{len(verdict['faults'])}", "faults confirmed", ""),
    ]  # fmt: skip
    return [tile for tile in tiles if not tile[0].endswith("/0")]


def _route(traces: Traces) -> str | None:
    """The route whose time is shown: placing an order, or else the most frequent route."""
    routes = traces.routes()
    return ORDER if ORDER in routes else next(iter(routes), None)


def _slowest(run: Run, traces: Traces) -> list[dict[str, Any]]:
    """The slowest requests during the fault. `url` is their page in Jaeger, "" without Jaeger."""
    jaeger = pages_of(run).get("jaeger", "")
    slowest = traces.slowest(SLOWEST, "during", _route(traces))
    found = [
        {str(name): value for name, value in row.items()} for row in slowest.to_dict("records")
    ]
    for each in found:
        each["url"] = f"{jaeger}/trace/{each['trace_id']}" if jaeger else ""
    return found


def _routes(run: Run) -> list[dict[str, Any]]:
    """Requests, errors and p95 by route, before, during and after the fault."""
    tables = {
        over: latency.by_route(run, over, intervals=False) for over in ("before", "during", "after")
    }
    names = list(dict.fromkeys(name for table in tables.values() for name in table["route"]))
    found = []
    for name in names:
        row: dict[str, Any] = {"route": name}
        for over, table in tables.items():
            own = table[table["route"] == name].to_dict("records")
            row[over] = own[0] if own else None
        found.append(row)
    return found


def _when(run: Run) -> str:
    try:
        start, _ = load_span(run)
    except ValueError:
        return "at an unknown time"
    return datetime.fromtimestamp(start, UTC).strftime("%d %B %Y, %H:%M:%S UTC")

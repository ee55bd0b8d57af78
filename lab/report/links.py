"""Where to look closer: a run's own stretch of time in the systems that watched it, while they still run."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

from lab.archive import Run

MARGIN_S = 10.0  # before and after the load, so that its edges are seen


class Link(NamedTuple):
    """`what` is the text, `where` the system it leads to."""

    what: str
    where: str
    url: str


def links(run: Run) -> list[Link]:
    """None for an archive that was recorded without any of them."""
    watched_by = run.info.get("observers") or {}
    phases = run.info.get("phases") or []
    if not phases:
        return []
    start_s = float(phases[0]["start_s"]) - MARGIN_S
    end_s = float(phases[-1]["end_s"] or phases[-1]["start_s"]) + MARGIN_S
    found = []
    if grafana := watched_by.get("grafana"):
        span = urlencode({"from": round(1000 * start_s), "to": round(1000 * end_s)})
        for stem, what in (
            ("overview", "the shop"),
            ("load", "load, phases and faults"),
            ("breakers", "circuit breakers"),
            ("consistency", "sagas and consistency"),
        ):
            found.append(Link(what, "Grafana", f"{grafana}/d/breakwater-{stem}?{span}"))
    if prometheus := watched_by.get("prometheus"):
        asked = {
            "g0.expr": "breakwater_fault_active or breakwater_run_phase",
            "g0.tab": "0",
            "g0.range_input": f"{round(end_s - start_s)}s",
            "g0.end_input": f"{round(1000 * end_s)}",
        }
        found.append(Link("metrics", "Prometheus", f"{prometheus}/graph?{urlencode(asked)}"))
    if jaeger := watched_by.get("jaeger"):
        span = urlencode({"start": round(1e6 * start_s), "end": round(1e6 * end_s), "limit": 50})
        found.append(Link("traces", "Jaeger", f"{jaeger}/search?service=gateway&{span}"))
    return found

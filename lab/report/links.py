"""Links to the time of a run in Grafana, Prometheus and Jaeger; they work while the lab runs."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from lab.archive import Run

MARGIN_S = 10.0  # shown before and after the load


class Link(NamedTuple):
    """A link with its `text`, to a page of `system` (e.g. Grafana)."""

    text: str
    system: str
    url: str


def pages_of(run: Run) -> dict[str, str]:
    """The addresses of the observers' pages, http(s) only: an archive may come from others."""
    found = run.info.get("observers") or {}
    return {
        name: url
        for name, url in found.items()
        if isinstance(url, str) and urlsplit(url).scheme in ("http", "https")
    }


def links(run: Run) -> list[Link]:
    """The links of a run; empty if it was recorded without these systems."""
    addresses = pages_of(run)
    phases = run.info.get("phases") or []
    if not phases:
        return []
    start_s = float(phases[0]["start_s"]) - MARGIN_S
    end_s = float(phases[-1]["end_s"] or phases[-1]["start_s"]) + MARGIN_S
    found = []
    if grafana := addresses.get("grafana"):
        span = urlencode({"from": round(1000 * start_s), "to": round(1000 * end_s)})
        for stem, text in (
            ("overview", "the shop"),
            ("load", "load, phases and faults"),
            ("breakers", "circuit breakers"),
            ("consistency", "sagas and consistency"),
        ):
            found.append(Link(text, "Grafana", f"{grafana}/d/breakwater-{stem}?{span}"))
    if prometheus := addresses.get("prometheus"):
        query = {
            "g0.expr": "breakwater_fault_active or breakwater_run_phase",
            "g0.tab": "0",
            "g0.range_input": f"{round(end_s - start_s)}s",
            "g0.end_input": f"{round(1000 * end_s)}",
        }
        found.append(Link("metrics", "Prometheus", f"{prometheus}/graph?{urlencode(query)}"))
    if jaeger := addresses.get("jaeger"):
        span = urlencode({"start": round(1e6 * start_s), "end": round(1e6 * end_s), "limit": 50})
        found.append(Link("traces", "Jaeger", f"{jaeger}/search?service=gateway&{span}"))
    return found

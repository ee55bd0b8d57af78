"""What a load measured, by route: percentiles, errors and throughput, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass

from lab.analysis.intervals import CONFIDENCE, Interval
from lab.analysis.latency import by_route
from lab.analysis.verdict.measures import measured, span_s
from lab.archive import Run


@dataclass(frozen=True)
class Figures:
    """Of one route, or of all (`route` None). Percentiles in ms, `good_per_s` are good answers per second.

    Each interval alone has a confidence of 95%.
    """

    route: str | None
    requests: int
    attempts: int
    errors: int
    per_s: float
    p50: Interval
    p95: Interval
    p99: Interval
    error_ratio: Interval
    good_per_s: Interval


def load_figures(run: Run) -> list[Figures]:
    """One for all routes together, and one for each, the most frequent first; empty without requests."""
    table = by_route(run, intervals=False)
    if table.empty:
        return []
    seconds = span_s(run, "all")

    def figures(route: str | None) -> Figures:
        own = table if route is None else table[table["route"] == route]
        requests, attempts, errors = (
            int(own[name].sum()) for name in ("requests", "attempts", "errors")
        )
        p50, p95, p99, error_ratio, good_per_s = (
            measured(run, measure, route, "all").interval(CONFIDENCE)
            for measure in ("p50_ms", "p95_ms", "p99_ms", "error_ratio", "goodput_per_s")
        )
        return Figures(
            *(route, requests, attempts, errors, requests / seconds),
            *(p50, p95, p99, error_ratio, good_per_s),
        )

    return [figures(None), *(figures(str(route)) for route in table["route"])]

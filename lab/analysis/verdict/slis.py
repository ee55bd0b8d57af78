"""Service level indicators as an experiment states them, measured with their uncertainty."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lab.analysis.intervals import Interval, share_interval
from lab.analysis.latency import failures, quantile_of
from lab.analysis.windows import WINDOWS, window
from lab.archive import Run

PERCENTILE = re.compile(r"p(\d{2,4})_ms")
MEASURES = "p50_ms, p95_ms, p99_ms, p999_ms, error_ratio or goodput_per_s"


class SliError(ValueError):
    """An SLI cannot be evaluated as it is written; the text says what is expected."""


@dataclass(frozen=True)
class SliResult:
    """`value` with its interval against `limit`: at most, for goodput_per_s at least.

    ok is the value's word; `certain` says that the whole interval is on the same side. No data:
    value None, not ok.
    """

    name: str
    route: str | None
    window: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    limit: float
    ok: bool
    certain: bool
    requests: int
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def said(self) -> str:
        """The result in words."""
        if self.value is None:
            return f"{self.name}: {self.note}"
        return (
            f"{self.name}: {_figure(self.value, self.unit)}, limit {_figure(self.limit, self.unit)}"
        )


def _figure(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".strip() if abs(value) < 100 else f"{value:,.0f} {unit}".strip()


def evaluate(sli: Mapping[str, Any], run: Run) -> SliResult:
    """Measure one SLI {name, route, window, measure, limit} on a run.

    route: as in the requests table (`POST /api/orders`), absent for all routes together.
    window: before, during, after or all; absent: during. Raises SliError.
    """
    measure, over = str(sli.get("measure", "")), str(sli.get("window", "during"))
    route = sli.get("route")
    name = str(sli.get("name") or f"{measure} of {route or 'all routes'} {over}")
    limit = sli.get("limit")
    if over not in WINDOWS:
        raise SliError(f"SLI {name}: window {over!r}; expected one of {', '.join(WINDOWS)}")
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise SliError(f"SLI {name}: limit {limit!r}; expected a number")
    failed = failures(run, route, over)
    found, unit = _measure(run, name, measure, route, over, failed)
    at_least = measure == "goodput_per_s"
    if np.isnan(found.value) or not len(failed):
        return SliResult(
            *(name, route, over, measure, None, None, None, unit, float(limit), False, False),
            requests=len(failed),
            note=found.note or "no data: nobody came this way in this window",
        )
    ok = found.value >= limit if at_least else found.value <= limit
    far = (found.low if at_least else found.high) if ok else (found.high if at_least else found.low)
    certain = far is not None and ((far >= limit if at_least else far <= limit) == ok)
    return SliResult(
        *(name, route, over, measure, found.value, found.low, found.high, unit, float(limit)),
        ok=bool(ok),
        certain=bool(certain),
        requests=len(failed),
        note=found.note,
    )


def _measure(
    run: Run, name: str, measure: str, route: str | None, over: str, failed: Any
) -> tuple[Interval, str]:
    """(value with interval, unit)."""
    if percentile := PERCENTILE.fullmatch(measure):
        digits = percentile[1]
        q = int(digits) / 10 ** len(digits)
        found = quantile_of(run, q, route, over)
        if 0 < len(failed) < 1.0 / (1.0 - q):
            short = f"{len(failed)} requests are too few to speak of a {measure[:-3]}"
            return Interval(float("nan"), None, None, short), "ms"
        return found, "ms"
    if measure == "error_ratio":
        return share_interval(failed > 0, np.random.default_rng(0)), ""
    if measure == "goodput_per_s":
        start, end = window(run, over)
        good, span_s = float(np.sum(failed == 0)), max(end - start, 1e-9)
        # Arrivals are independent of the shop: a Poisson count's own spread is what is left.
        half = 1.96 * good**0.5
        return Interval(good / span_s, max(0.0, good - half) / span_s, (good + half) / span_s), "/s"
    raise SliError(f"SLI {name}: measure {measure!r}; expected {MEASURES}")

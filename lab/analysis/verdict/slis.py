"""Measures the service level indicators of an experiment, with intervals."""

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
NOT_OK = (False, False)
MEASURES = "p50_ms, p95_ms, p99_ms, p999_ms, error_ratio or goodput_per_s"


class SliError(ValueError):
    """An SLI is malformed; the message names the expected form."""


@dataclass(frozen=True)
class SliResult:
    """`value` with its interval, compared with `limit`.

    The limit is a maximum, for goodput_per_s a minimum. `ok`: the value keeps the limit. `certain`:
    the whole interval is on the same side. Without data `value` is None and `ok` is False.
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

    def text(self) -> str:
        """The result as text, e.g. `orders are fast: 240 ms, limit 500 ms`."""
        if self.value is None:
            return f"{self.name}: {self.note}"
        return (
            f"{self.name}: {_figure(self.value, self.unit)}, limit {_figure(self.limit, self.unit)}"
        )


def _figure(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".strip() if abs(value) < 100 else f"{value:,.0f} {unit}".strip()


def evaluate(sli: Mapping[str, Any], run: Run) -> SliResult:
    """Measure one SLI {name, route, window, measure, limit} on a run.

    route: as in the requests table (`POST /api/orders`); by default all routes together.
    window: before, during, after or all; by default during. Raises SliError.
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
    known = len(failed) > 0 and not np.isnan(found.value)
    ok, certain = _compare(found, float(limit), measure == "goodput_per_s") if known else NOT_OK
    return SliResult(
        name=name,
        route=route,
        window=over,
        measure=measure,
        value=found.value if known else None,
        low=found.low if known else None,
        high=found.high if known else None,
        unit=unit,
        limit=float(limit),
        ok=ok,
        certain=certain,
        requests=len(failed),
        note=found.note if known else found.note or "no data: no requests in this window",
    )


def _compare(found: Interval, limit: float, at_least: bool) -> tuple[bool, bool]:
    """(ok, certain): whether the value keeps the limit, and whether the whole interval agrees."""

    def keeps(value: float) -> bool:
        return bool(value >= limit if at_least else value <= limit)

    ok = keeps(found.value)
    far = found.low if ok == at_least else found.high  # the end that is nearest to the other side
    return ok, far is not None and keeps(far) == ok


def _measure(
    run: Run, name: str, measure: str, route: str | None, over: str, failed: Any
) -> tuple[Interval, str]:
    """(value with interval, unit)."""
    if percentile := PERCENTILE.fullmatch(measure):
        digits = percentile[1]
        q = int(digits) / 10 ** len(digits)
        found = quantile_of(run, q, route, over)
        if 0 < len(failed) < 1.0 / (1.0 - q):
            short = f"{len(failed)} requests are too few for a {measure[:-3]}"
            return Interval(float("nan"), None, None, short), "ms"
        return found, "ms"
    if measure == "error_ratio":
        return share_interval(failed > 0), ""
    if measure == "goodput_per_s":
        start, end = window(run, over)
        good, span_s = float(np.sum(failed == 0)), max(end - start, 1e-9)
        # Arrivals do not depend on the shop: the count varies as a Poisson count.
        half = 1.96 * good**0.5
        return Interval(good / span_s, max(0.0, good - half) / span_s, (good + half) / span_s), "/s"
    raise SliError(f"SLI {name}: measure {measure!r}; expected {MEASURES}")

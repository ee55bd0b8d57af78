"""Checks the expectation that a fault does not change the shoppers' measures by more than a margin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lab.analysis.intervals import Equivalence, Interval, equivalent, ratio_interval, share_interval
from lab.analysis.latency import failures
from lab.analysis.verdict.slis import evaluate
from lab.archive import Run

MEASURES = ("goodput_per_s", "p99_ms")
MARGIN = 0.1
# Both follow from the share of good requests: the load generator sets the number of requests.
OF_GOOD_REQUESTS = {"goodput_per_s": "share of good requests", "error_ratio": "share without error"}


def unchanged(wanted: Mapping[str, Any], run: Run) -> list[dict[str, Any]]:
    """One expectation for each of `measures` (default goodput and p99) of `route` (default all).

    Each has a `result`: equivalent if the 95% interval of the ratio during / before is within a factor
    of 1 + `margin` (default 0.1), different if it is outside, else inconclusive. The expectation is met
    if the result is equivalent: too few requests are no evidence.
    """
    route, margin = wanted.get("route") or None, float(wanted.get("margin", MARGIN))
    return [
        _expectation(measure, route, margin, run) for measure in wanted.get("measures") or MEASURES
    ]


def _expectation(measure: str, route: str | None, margin: float, run: Run) -> dict[str, Any]:
    before, during = (_interval(measure, route, over, run) for over in ("before", "during"))
    ratio, result = ratio_interval(before, during), equivalent(before, during, margin)
    compared = f" of the {OF_GOOD_REQUESTS[measure]}" if measure in OF_GOOD_REQUESTS else ""
    return {
        "name": f"{measure} of {route or 'all requests'} is unchanged",
        "edge": "",
        "value": ratio.value,
        "limit": 1.0 + margin,
        "ok": result == Equivalence.EQUIVALENT,
        "result": str(result),
        "detail": f"{result}: the ratio{compared} during / before is {_text(ratio)}, margin {margin:g};"
        f" {_text(before)} before, {_text(during)} during",
    }


def _interval(measure: str, route: str | None, over: str, run: Run) -> Interval:
    if measure in OF_GOOD_REQUESTS:
        return share_interval(failures(run, route, over) == 0)
    found = evaluate({"measure": measure, "route": route, "window": over, "limit": 0}, run)
    value = float("nan") if found.value is None else found.value
    return Interval(value, found.low, found.high, found.note)


def _text(found: Interval) -> str:
    if found.low is None or found.high is None:
        return "unknown" if math.isnan(found.value) else f"{found.value:.3g} ({found.note})"
    return f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g})"

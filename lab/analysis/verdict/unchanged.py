"""Checks the expectation that a fault does not change the shoppers' measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.analysis.verdict.slis import SliResult, evaluate
from lab.archive import Run

MEASURES = ("goodput_per_s", "p99_ms")


def unchanged(wanted: Mapping[str, Any], run: Run) -> list[dict[str, Any]]:
    """One expectation for each of `measures` (default goodput and p99) of `route` (default all).

    Unchanged means that the 95% intervals before and during the fault overlap. One run cannot show a
    difference smaller than its intervals, so the detail contains them. If an interval is unknown (a
    p99 of fewer than 299 requests), the expectation is not met.
    """
    route = wanted.get("route")
    return [
        _expectation(
            measure,
            route,
            *(
                evaluate({"measure": measure, "route": route, "window": over, "limit": 0}, run)
                for over in ("before", "during")
            ),
        )
        for measure in wanted.get("measures") or MEASURES
    ]


def _expectation(
    measure: str, route: str | None, before: SliResult, during: SliResult
) -> dict[str, Any]:
    known = all(None not in (each.low, each.high) for each in (before, during))
    return {
        "name": f"{measure} of {route or 'all requests'} is unchanged",
        "edge": "",
        "value": during.value,
        "limit": before.high,
        "ok": known and _overlap(before, during),
        "detail": f"{_text(before)} before, {_text(during)} during",
    }


def _overlap(one: SliResult, other: SliResult) -> bool:
    ends = (one.low, one.high, other.low, other.high)
    low, high, other_low, other_high = (float(end or 0.0) for end in ends)
    return low <= other_high and other_low <= high


def _text(measured: SliResult) -> str:
    if measured.value is None:
        return measured.note or "no data"
    high = "unknown" if measured.high is None else f"{measured.high:.3g}"
    return f"{measured.value:.3g} ({measured.low:.3g} to {high}) {measured.unit}".strip()

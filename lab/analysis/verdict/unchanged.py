"""The expectation that a fault does not change the shoppers' measures by more than a margin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lab.analysis.intervals import Equivalence, Interval, equivalent, ratio_interval, share_interval
from lab.analysis.latency import failures
from lab.analysis.verdict.answers import Answer
from lab.analysis.verdict.expectations import Expectation
from lab.analysis.verdict.measures import measured
from lab.archive import Run

MEASURES = ("goodput_per_s", "p99_ms")
MARGIN = 0.1
# Both follow from the share of good requests: the load generator sets the number of requests.
OF_GOOD_REQUESTS = {"goodput_per_s": "share of good requests", "error_ratio": "share without error"}
ANSWERS = {
    Equivalence.EQUIVALENT: Answer.KEPT,
    Equivalence.DIFFERENT: Answer.BROKEN,
    Equivalence.INCONCLUSIVE: Answer.UNDECIDED,
}


def unchanged(wanted: Mapping[str, Any], run: Run) -> list[Unchanged]:
    """One expectation for each of `measures` (default goodput and p99) of `route` (default all)."""
    route, margin = wanted.get("route") or None, float(wanted.get("margin", MARGIN))
    return [
        Unchanged(measure, route, margin, run) for measure in wanted.get("measures") or MEASURES
    ]


class Unchanged:
    """One measure before and during the fault.

    equivalent (kept) if the interval of the ratio during / before is within a factor of 1 + `margin`,
    different (broken) if it is outside, else inconclusive (undecided).
    """

    def __init__(self, measure: str, route: str | None, margin: float, run: Run) -> None:
        self._measure, self._margin = measure, margin
        self._name = f"{measure} of {route or 'all requests'} is unchanged"
        self._intervals = [_series(measure, route, over, run) for over in ("before", "during")]

    def at(self, confidence: float) -> Expectation:
        """The result at a confidence between 0 and 1."""
        before, during = (interval(confidence) for interval in self._intervals)
        ratio, result = ratio_interval(before, during), equivalent(before, during, self._margin)
        compared = (
            f" of the {OF_GOOD_REQUESTS[self._measure]}"
            if self._measure in OF_GOOD_REQUESTS
            else ""
        )
        return Expectation(
            name=self._name,
            edge="",
            value=ratio.value,
            limit=1.0 + self._margin,
            answer=ANSWERS[result],
            detail=f"{result}: the ratio{compared} during / before is {_text(ratio)},"
            f" margin {self._margin:g}; {_text(before)} before, {_text(during)} during"
            + _what_would_decide(result, ratio, self._margin),
            result=str(result),
            confidence=confidence,
        )


def _series(measure: str, route: str | None, over: str, run: Run) -> Callable[[float], Interval]:
    """The interval of a measure in one window, by confidence. Raises SliError for an unknown measure."""
    if measure in OF_GOOD_REQUESTS:
        good = failures(run, route, over) == 0
        return lambda confidence: share_interval(good, confidence=confidence)
    return measured(run, measure, route, over).interval


def _what_would_decide(result: Equivalence, ratio: Interval, margin: float) -> str:
    """How much longer the windows must be: the width of an interval falls with the root of its data."""
    if result != Equivalence.INCONCLUSIVE or ratio.low is None or ratio.high is None:
        return ""
    if ratio.value <= 0:  # the upper end falls with the number of requests
        return f"; windows {ratio.high * (1.0 + margin):.1f} times as long would decide it"
    border, change = math.log1p(margin), math.log(ratio.value)
    # The end of the interval that reaches across the border nearest to the ratio.
    distance = abs(border - abs(change))
    end = math.log(ratio.high if (change > 0) == (abs(change) < border) else ratio.low)
    times = (abs(end - change) / distance) ** 2 if distance > 0 else math.inf
    if times > 1000:
        return "; the ratio is too close to the margin to be decided"
    return f"; windows {max(times, 1.1):.1f} times as long would decide it"


def _text(found: Interval) -> str:
    if found.low is None or found.high is None:
        return "unknown" if math.isnan(found.value) else f"{found.value:.3g} ({found.note})"
    return f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g})"

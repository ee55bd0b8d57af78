"""What a limit can be set on: percentiles of response times, error ratio, goodput; each with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lab.analysis.intervals import (
    Interval,
    Values,
    quantile_interval,
    requests_needed,
    share_interval,
)
from lab.analysis.intervals.dependence import (
    FEWEST,
    Dependence,
    dependence_of_ranks,
    ranks_in_time_order,
)
from lab.analysis.latency import failures, response_times
from lab.analysis.verdict.answers import Answer
from lab.analysis.windows import window
from lab.archive import Run
from lab.load.percentiles import quantile

MEASURES = "p50_ms, p95_ms, p99_ms, p999_ms, error_ratio or goodput_per_s"
NO_DATA = Interval(math.nan, None, None, "no data: no requests in this window")


class SliError(ValueError):
    """A limit is malformed; the message names the expected form."""


@dataclass(frozen=True)
class Percentile:
    """A percentile of response times, at most the limit. `values` in ms."""

    values: Values
    q: float
    unit = "ms"

    def bad(self, limit: float) -> tuple[NDArray[np.bool_], float]:
        """(whether each request is beyond the limit, the share that may be)."""
        return self.values > limit, 1.0 - self.q

    def interval(self, confidence: float) -> Interval:
        found = quantile_interval(self.values, self.q, confidence=confidence)
        if len(self.values) * (1.0 - self.q) < 1.0 - 1e-9:  # the largest value is no estimate
            return replace(found, value=math.nan)
        return found

    def answer(self, found: Interval, limit: float, confidence: float) -> tuple[Answer, str]:
        """Without an interval the share of slower requests can still decide (docs/intervals.md)."""
        if found.high is not None:
            return compare(found, limit), ""
        slow, most = self.bad(limit)
        share = compare(self._share(slow, confidence), most)
        if share == Answer.UNDECIDED or (share == Answer.KEPT and len(slow) < FEWEST):
            return Answer.UNDECIDED, found.note
        count = f"{np.count_nonzero(slow):,} of {len(slow):,} requests took longer"
        worth = int(len(slow) / self.tau(confidence))
        if worth < len(slow):
            count += f", which are worth {worth:,} independent ones"
        return share, count

    def needed(self, found: Interval, limit: float, confidence: float) -> int | None:
        slow, most = self.bad(limit)
        enough = _needed(self._share(slow, confidence), most, confidence)
        return None if enough is None else max(enough, FEWEST)

    def tau(self, confidence: float) -> float:
        """How many requests are worth one independent request, by the ranks of their response times.

        Requests beyond a limit do not show it if there is none.
        """
        if len(self.values) < FEWEST or not self._times.visible:
            return 1.0
        return self._times.tau(confidence)

    @cached_property
    def _times(self) -> Dependence:
        """Of the response times. Kept: it is the same at each confidence of Holm's method."""
        return dependence_of_ranks(ranks_in_time_order(self.values))

    def _share(self, slow: NDArray[np.bool_], confidence: float) -> Interval:
        return share_interval(slow, confidence=confidence, tau=self.tau(confidence))


@dataclass(frozen=True)
class ErrorRatio:
    """The share of logical requests that failed, had an unknown outcome or were dropped, at most the limit."""

    failed: NDArray[np.bool_]
    unit = ""

    def bad(self, limit: float) -> tuple[NDArray[np.bool_], float]:
        """(whether each request failed, the share that may)."""
        return self.failed, limit

    def interval(self, confidence: float) -> Interval:
        return share_interval(self.failed, confidence=confidence)

    def answer(self, found: Interval, limit: float, confidence: float) -> tuple[Answer, str]:
        return compare(found, limit), found.note

    def needed(self, found: Interval, limit: float, confidence: float) -> int | None:
        return _needed(found, limit, confidence)

    def tau(self, confidence: float) -> float:
        """1: the outcomes themselves show their dependence."""
        return 1.0


@dataclass(frozen=True)
class Goodput:
    """Good answers per second, at least the limit."""

    failed: NDArray[np.bool_]
    span_s: float
    unit = "/s"

    def bad(self, limit: float) -> tuple[NDArray[np.bool_], float]:
        """(whether each request failed, the share that may at this rate of arrivals)."""
        return self.failed, 1.0 - limit * self.span_s / max(len(self.failed), 1)

    def interval(self, confidence: float) -> Interval:
        """Arrivals do not depend on the shop: the count is a Poisson count, and tau is that of failures.

        The score interval: k + z^2/2 -+ z sqrt(k + z^2/4) (Garwood's within .2 of a count).
        """
        share = share_interval(self.failed, confidence=confidence)
        if share.high is None:
            return replace(share, value=self._per_s(len(self.failed) * (1.0 - share.value)))
        z = NormalDist().inv_cdf((1.0 + confidence) / 2)
        good = int(np.count_nonzero(~self.failed)) / share.tau
        half = z * math.sqrt(good + z**2 / 4)
        low, high = good + z**2 / 2 - half, good + z**2 / 2 + half
        value, low, high = (self._per_s(share.tau * each) for each in (good, low, high))
        return Interval(value, low, high, tau=share.tau)

    def answer(self, found: Interval, limit: float, confidence: float) -> tuple[Answer, str]:
        return compare(found, limit, at_least=True), found.note

    def needed(self, found: Interval, limit: float, confidence: float) -> int | None:
        if found.value == limit or found.low is None:
            return None
        z = NormalDist().inv_cdf((1.0 + confidence) / 2)
        seconds = z**2 * found.tau * max(found.value, limit) / (found.value - limit) ** 2
        return math.ceil(len(self.failed) * seconds / self.span_s)

    def tau(self, confidence: float) -> float:
        """1: the outcomes themselves show their dependence."""
        return 1.0

    def _per_s(self, count: float) -> float:
        return count / self.span_s


Measure = Percentile | ErrorRatio | Goodput


def measured(run: Run, measure: str, route: str | None, over: str) -> Measure:
    """The data of a measure in a window. Raises SliError if the measure is unknown."""
    q = quantile(measure)
    if q is not None:
        return Percentile(1000 * response_times(run, route, over), q)
    failed = failures(run, route, over) > 0
    if measure == "error_ratio":
        return ErrorRatio(failed)
    if measure == "goodput_per_s":
        return Goodput(failed, span_s(run, over))
    raise SliError(f"measure {measure!r}; expected {MEASURES}")


def span_s(run: Run, over: str) -> float:
    start, end = window(run, over)
    return max(end - start, 1e-9)


def compare(found: Interval, limit: float, *, at_least: bool = False) -> Answer:
    """Kept if the whole interval keeps the limit, broken if none of it does."""
    if found.low is None or found.high is None:
        return Answer.UNDECIDED
    keeps: Callable[[float], bool] = (
        (lambda value: value >= limit) if at_least else (lambda value: value <= limit)
    )
    if keeps(found.low) == keeps(found.high):
        return Answer.KEPT if keeps(found.low) else Answer.BROKEN
    return Answer.UNDECIDED


def _needed(share: Interval, limit: float, confidence: float) -> int | None:
    """The requests that decide whether a share is below its limit, and that give it an interval."""
    value = 0.0 if math.isnan(share.value) else share.value
    enough = requests_needed(value, limit, tau=share.tau, confidence=confidence)
    return None if enough is None else max(enough, share.needed or 0)

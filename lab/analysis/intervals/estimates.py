"""A quantile or a share of values in time order, with an interval that allows for dependence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lab.analysis.intervals.binomial import (
    CONFIDENCE,
    Values,
    clopper_pearson,
    quantile_ranks,
    smallest_n,
)
from lab.analysis.intervals.dependence import (
    FEWEST,
    WINDOWS,
    Dependence,
    dependence_of_hits,
    dependence_of_ranks,
    ranks_in_time_order,
)

# Less than one value a window beyond a level shows no dispersion.
FEWEST_BEYOND = WINDOWS
# Tau is an estimate: dependent values must be worth a quarter more than the smallest number with a bound.
SPARE = 1.25


@dataclass(frozen=True)
class Interval:
    """A value and its interval. An end is None if the data do not bound it; `note` has the reason.

    tau: how many of these values are worth one independent value. needed: about how many values give
    an interval; None if there is one, or if it is not known.
    """

    value: float
    low: float | None
    high: float | None
    note: str = ""
    tau: float = 1.0
    needed: int | None = None


def quantile_interval(values: Values, q: float, *, confidence: float = CONFIDENCE) -> Interval:
    """The q-quantile of values in time order, between order statistics at the effective sample size.

    Both ends are None for too few values (p50: 30, p95: 59, p99: 299 at 95%), or if the values
    depend on each other too much for their number. Method and coverage: docs/intervals.md.
    """
    n = len(values)
    if n == 0:
        return Interval(math.nan, None, None, "no data")
    if q < 0.5:
        found = quantile_interval(-values, 1.0 - q, confidence=confidence)
        low, high = (None if end is None else -end for end in (found.high, found.low))
        return replace(found, value=-found.value, low=low, high=high)
    ordered = np.sort(values)
    value = float(np.quantile(ordered, q))
    needed = max(FEWEST, smallest_n(q, confidence))
    if n < needed:
        short = f"no upper bound: {n} values, {needed} needed"
        return Interval(value, None, None, short, needed=needed)
    series = ranks_in_time_order(values)
    ends, tau, seen = _ends_and_tau(series, q, confidence)
    seen.append(dependence_of_ranks(series))
    if any(each.visible for each in seen):
        note, enough = _too_dependent(n, tau, seen, math.ceil(SPARE * smallest_n(q, confidence)))
        if note:
            return Interval(value, None, None, note, tau, enough)
    if ends is None:
        # Dependence is not visible. The allowance for what it may hide does not refuse the bound.
        ends = _ranks(n, n / smallest_n(q, confidence), q, confidence)
    assert ends is not None
    low, high = (float(ordered[rank - 1]) for rank in ends)
    return Interval(value, low, high, "", tau)


def _ends_and_tau(
    series: NDArray[np.intp], q: float, confidence: float
) -> tuple[tuple[int, int] | None, float, list[Dependence]]:
    """(ranks of the ends or None, tau, the dependence at each level that was examined)."""
    n = len(series)

    @cache
    def beyond(rank: int) -> Dependence:
        return dependence_of_hits(series > rank)

    def at(rank: int) -> Dependence:
        return beyond(min(max(rank, FEWEST_BEYOND), n - FEWEST_BEYOND))

    slower = n - math.ceil(q * n - 1e-9)
    # Slow periods show best among the slowest: look also at the upper half and quarter of the tail.
    seen = [at(n - slower), at(n - slower // 2), at(n - slower // 4)]
    tau = seen[0].tau(confidence)
    while True:
        tau = max([tau, *(each.tau(confidence) for each in seen if each.visible)])
        ranks = _ranks(n, tau, q, confidence)
        # The true quantile may be at an end, and the dependence there may be stronger.
        ends = [at(rank) for rank in ranks or ()]
        if all(each in seen for each in ends):
            return ranks, tau, seen
        seen += ends


def _ranks(n: int, tau: float, q: float, confidence: float) -> tuple[int, int] | None:
    """The ranks in n values that correspond to those in n / tau independent values."""
    effective = max(1, int(n / tau + 1e-9))
    ranks = quantile_ranks(effective, q, confidence)
    if ranks is None or effective == n:
        return ranks
    low, high = ((rank - 0.5) * n / effective + 0.5 for rank in ranks)
    return max(1, math.floor(low + 0.5)), min(n, math.ceil(high - 0.5))


def _too_dependent(
    n: int, tau: float, seen: list[Dependence], enough: int
) -> tuple[str, int | None]:
    """(why n dependent values give no interval, how many do); ("", None) if there is one."""
    needed = max(each.needed for each in seen)
    if n < needed:
        return f"dependent values: {n}, about {needed} needed", needed
    if math.isinf(tau):
        return "dependent values: one slow period does not show how often they come", None
    if n / tau < enough:
        note = f"dependent values: {n} are worth {n / tau:.0f} independent ones, {enough} needed"
        return note, math.ceil(enough * tau)
    return "", None


def share_interval(
    hits: NDArray[np.bool_], *, confidence: float = CONFIDENCE, tau: float = 1.0
) -> Interval:
    """The share of hits in outcomes in time order: Clopper and Pearson's at the effective size.

    tau: at least so many outcomes are worth one independent outcome, if more is known than the hits
    show: the values behind them may depend on each other although none of them is a hit.
    0 hits in n bound the share by about 3/n. Fewer than 30 outcomes cannot show dependence and count
    as independent. Both ends are None if the dependence is longer than a tenth of the series, or if
    all hits form one group.
    """
    n = len(hits)
    if n == 0:
        return Interval(math.nan, None, None, "no data")
    count = int(np.count_nonzero(hits))
    found = dependence_of_hits(hits)
    tau = max(tau, found.tau(confidence) if 0 < count < n and n >= FEWEST else 1.0)
    if found.visible and n < found.needed:
        note = f"dependent outcomes: {n}, about {found.needed} needed"
        return Interval(count / n, None, None, note, tau, found.needed)
    if math.isinf(tau):
        note = "dependent outcomes: one group does not show how often groups come"
        return Interval(count / n, None, None, note, tau)
    low, high = clopper_pearson(count / tau, n / tau, confidence)
    return Interval(count / n, low, high, "", tau)

"""A share of outcomes over several runs: each run is a cluster, and only the runs are independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lab.analysis.intervals.binomial import CONFIDENCE, clopper_pearson, t_quantile
from lab.analysis.intervals.estimates import Interval, share_interval


def pooled_share(
    runs: Sequence[NDArray[np.bool_]],
    *,
    confidence: float = CONFIDENCE,
    taus: Sequence[float] | None = None,
) -> Interval:
    """The share of hits over all runs, Clopper and Pearson's at the sum of the runs' effective sizes.

    A run of n outcomes is worth n / tau independent ones. If there are hits, the variance between the
    runs counts too, with Student's t for so few runs: two runs with hits decide hardly anything.
    A run that has no interval alone, because its hits are one group, is one cluster. Such hits in a
    single run give no interval. taus: the least tau of each run (share_interval).
    """
    least = [1.0] * len(runs) if taus is None else taus
    known = [(hits, tau) for hits, tau in zip(runs, least, strict=True) if len(hits)]
    filled = [hits for hits, _ in known]
    total = sum(len(hits) for hits in filled)
    if not filled:
        return Interval(math.nan, None, None, "no data")
    alone = [share_interval(hits, confidence=confidence, tau=tau) for hits, tau in known]
    if len(filled) == 1:
        return alone[0]
    value = sum(int(np.count_nonzero(hits)) for hits in filled) / total
    whole = all(each.low is not None for each in alone)
    sizes = [
        len(hits) / (each.tau if whole else 1.0) for hits, each in zip(filled, alone, strict=True)
    ]
    tau = total / sum(sizes)
    dispersion = _dispersion([each.value for each in alone], sizes)
    if value not in (0.0, 1.0):
        if not whole and sum(bool(hits.any()) for hits in filled) < 2:
            note = "dependent outcomes: one run does not show how often groups come"
            return Interval(value, None, None, note, math.inf)
        z = NormalDist().inv_cdf((1.0 + confidence) / 2)
        allowance = (t_quantile((1.0 + confidence) / 2, len(filled) - 1) / z) ** 2
        tau *= max(1.0, dispersion * allowance)
    low, high = clopper_pearson(value * total / tau, total / tau, confidence)
    return Interval(value, low, high, "", tau)


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Student's interval of the mean of one value a run; both ends are None for fewer than three runs."""
    n, mean = len(values), float(np.mean(values)) if len(values) else math.nan
    if n < 3:
        return Interval(mean, None, None, f"{n} runs, 3 needed", needed=3)
    half = t_quantile((1.0 + confidence) / 2, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def _dispersion(shares: Sequence[float], sizes: Sequence[float]) -> float:
    """The variance of the runs' shares by that of independent outcomes."""
    share = float(np.average(shares, weights=sizes))
    if not 0.0 < share < 1.0:
        return 0.0
    between = sum(n * (own - share) ** 2 for own, n in zip(shares, sizes, strict=True)) / (
        len(shares) - 1
    )
    return between / (share * (1.0 - share))

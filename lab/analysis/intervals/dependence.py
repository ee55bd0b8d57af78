"""How much the values of a series depend on each other, measured over ten windows of the series.

Survey statistics treats neighbours as one cluster and the clusters as independent. Here the clusters
are windows of time. If values are independent, the means of windows vary by chance alone. If slow
requests come in groups, they vary more. The ratio of the two variances is tau: n dependent values
are worth n / tau independent ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lab.analysis.intervals.binomial import Values, t_quantile

WINDOWS = 10
# With fewer than three values in a window, neighbours are hardly ever in the same window.
FEWEST = 3 * WINDOWS
# Independent values are above each of these in 1 of 20 series: the 95% quantile of chi-squared over
# its 9 degrees of freedom, and that of the normal distribution.
DISPERSION_BY_CHANCE = 16.919 / (WINDOWS - 1)
CORRELATION_BY_CHANCE = 1.645
GOLDEN_RATIO = (1.0 + math.sqrt(5.0)) / 2


@dataclass(frozen=True)
class Dependence:
    """What a series of n values shows.

    dispersion: the variance of window means by that of independent values. correlation: that of
    neighbours. occupied: the number of windows with at least one hit.
    """

    n: int
    dispersion: float = 1.0
    correlation: float = 0.0
    occupied: int = WINDOWS

    @property
    def visible(self) -> bool:
        """Whether the series shows more dependence than chance explains."""
        return (
            self.dispersion > DISPERSION_BY_CHANCE
            or self.correlation > CORRELATION_BY_CHANCE / math.sqrt(self.n)
        )

    @property
    def needed(self) -> int:
        """The number of values from which a window is as long as the dependence, if it is an AR(1)."""
        r = min(max(self.correlation, 0.0), 0.99)
        return math.ceil(WINDOWS * (1.0 + r) / (1.0 - r))

    def tau(self, confidence: float) -> float:
        """How many values are worth one independent value, with an allowance for so few windows.

        If dependence is visible, only occupied windows count. One window gives infinity.
        """
        windows = self.occupied if self.visible else WINDOWS
        return max(1.0, self.dispersion * _allowance(windows, confidence))


def dependence_of_hits(hits: NDArray[np.bool_]) -> Dependence:
    """The dependence of outcomes, or of being beyond a level, in time order."""
    rare = hits if 2 * np.count_nonzero(hits) <= len(hits) else ~hits
    if len(hits) < FEWEST:
        return Dependence(len(hits))
    occupied = np.count_nonzero(np.logical_or.reduceat(rare, _starts(len(hits))))
    return _measure(hits.astype(np.float64), int(occupied))


def dependence_of_ranks(ranks: NDArray[np.intp]) -> Dependence:
    """The dependence of ranks in time order."""
    return _measure(ranks.astype(np.float64), WINDOWS)


def ranks_in_time_order(values: Values) -> NDArray[np.intp]:
    """The rank (1-based) of each value. The ranks of equal values are spread evenly over the series.

    In order of time, equal values (or those that differ by rounding only) would look like a trend.
    """
    spread = np.arange(len(values)) * GOLDEN_RATIO % 1.0
    ranks = np.empty(len(values), dtype=np.intp)
    ranks[np.lexsort((spread, values.astype(np.float32)))] = np.arange(1, len(values) + 1)
    return ranks


def _measure(series: Values, occupied: int) -> Dependence:
    n = len(series)
    centred = series - series.mean()
    squares = float(centred @ centred)
    if n < FEWEST or squares <= 1e-9:
        return Dependence(n)
    starts = _starts(n)
    sums = np.add.reduceat(centred, starts)
    between = float(np.sum(sums**2 / np.diff(starts, append=n))) / (WINDOWS - 1)
    seen = float(centred[1:] @ centred[:-1]) / squares
    # The estimate is too low by about (1 + 3r)/n (Kendall 1954).
    correlation = seen + (1.0 + 3.0 * max(seen, 0.0)) / n
    return Dependence(n, between / (squares / n), correlation, occupied)


def _starts(n: int) -> NDArray[np.intp]:
    return np.arange(WINDOWS) * n // WINDOWS


@lru_cache(maxsize=256)
def _allowance(windows: int, confidence: float) -> float:
    """The variance of a few windows is itself uncertain: Student's t in place of the normal."""
    if windows < 2:
        return math.inf
    p = (1.0 + confidence) / 2
    return (t_quantile(p, windows - 1) / NormalDist().inv_cdf(p)) ** 2

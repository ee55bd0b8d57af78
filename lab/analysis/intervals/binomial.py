"""Exact intervals for independent values: ranks of a quantile, Clopper and Pearson's for a share."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
CONFIDENCE = 0.95


def binomial_cdf(n: int, p: float) -> Values:
    """P(Bin(n, p) <= k) for k = 0..n."""
    if p <= 0.0 or p >= 1.0:
        certain: Values = (np.arange(n + 1) >= n * p).astype(np.float64)
        return certain
    k = np.arange(1, n + 1)
    steps = np.log((n - k + 1) / k) + math.log(p) - math.log1p(-p)
    logs = n * math.log1p(-p) + np.concatenate(([0.0], np.cumsum(steps)))
    cdf: Values = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return cdf


@lru_cache(maxsize=4096)
def quantile_ranks(n: int, q: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """Ranks (1-based) of the order statistics around the q-quantile of n independent values.

    l = BinomInv(a/2; n, q), u = BinomInv(1 - a/2; n, q) + 1. If the largest value bounds the
    quantile with more than a/2 of error, the lower end gets the rest of a, and the other way round:
    so a p95 has both ends from n = 59, a p99 from 299. None if n is smaller.
    """
    alpha = 1.0 - confidence
    above, below = q**n, (1.0 - q) ** n
    if above + below > alpha:
        return None
    cdf = binomial_cdf(n, q)
    low = int(np.searchsorted(cdf, alpha - above if above > alpha / 2 else alpha / 2))
    high = int(np.searchsorted(cdf, 1.0 - (alpha - below if below > alpha / 2 else alpha / 2))) + 1
    return max(low, 1), min(high, n)


def coverage(n: int, q: float, ranks: tuple[int, int]) -> float:
    """The probability that the order statistics of these ranks enclose the q-quantile."""
    cdf = binomial_cdf(n, q)
    low, high = ranks
    return float(cdf[min(high - 1, n)] - (cdf[low - 1] if low > 0 else 0.0))


@lru_cache(maxsize=256)
def smallest_n(q: float, confidence: float = CONFIDENCE) -> int:
    """The smallest number of values that bounds the q-quantile: 6 for p50, 59 for p95, 299 for p99.

    All n values are on one side of the quantile with probability q^n + (1 - q)^n.
    """
    tail = max(q, 1.0 - q)
    n = math.ceil(math.log(1.0 - confidence) / math.log(tail))
    while quantile_ranks(n, q, confidence) is None:
        n += 1
    return n


@lru_cache(maxsize=65536)
def clopper_pearson(hits: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact interval of a share. `hits` and `n` may be fractions (an effective sample size).

    0 hits in n bound the share by about 3/n (299 trials for 1%): the lower end is 0 for certain, so
    the upper end gets the whole error. In return no lower end lies between the bound of 0 hits at a
    and at a/2: this keeps the coverage at 95% for each share.
    """
    if 2.0 * hits > n:
        low, high = clopper_pearson(n - hits, n, confidence)
        return 1.0 - high, 1.0 - low
    alpha = 1.0 - confidence
    bound_of_none = 1.0 - alpha ** (1.0 / n)
    if hits <= 0.0:
        return 0.0, bound_of_none
    low = beta_quantile(alpha / 2, hits, n - hits + 1.0)
    if bound_of_none < low < 1.0 - (alpha / 2) ** (1.0 / n):
        low = bound_of_none
    return low, beta_quantile(1.0 - alpha / 2, hits + 1.0, n - hits)


@lru_cache(maxsize=1024)
def t_quantile(p: float, freedom: int) -> float:
    """Student's t quantile, p > 0.5, by way of the beta distribution."""
    x = beta_quantile(2.0 * (1.0 - p), freedom / 2, 0.5)
    return math.sqrt(freedom * (1.0 - x) / x)


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x at which the beta distribution function reaches p, to 15 digits, by bisection."""
    low, high = 0.0, 1.0
    while high - low > 1e-15 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if beta_cdf(middle, a, b) < p else (low, middle)
    return (low + high) / 2


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (NIST DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(x) + b * math.log1p(-x)
    )  # fmt: skip
    # Lentz's algorithm: c and d are the ratios of successive numerators and denominators.
    c = 1.0
    d = value = 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    m, step = 1, 0.0
    while abs(step - 1.0) > 1e-14 and m < 100_000:
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1.0 / (1.0 + even * d), 1.0 + even / c
        value *= d * c
        d, c = 1.0 / (1.0 + odd * d), 1.0 + odd / c
        step = d * c
        value *= step
        m += 1
    return front * value / a

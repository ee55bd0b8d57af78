"""Intervals for a quantile or a share: order statistics, stationary bootstrap, Wilson."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value and its interval. An end is None if there are too few data; `note` has the reason."""

    value: float
    low: float | None
    high: float | None
    note: str = ""


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


def quantile_ranks(n: int, q: float, confidence: float = 0.95) -> tuple[int, int]:
    """Ranks (1-based) of the order statistics around the q-quantile of n independent values.

    l = BinomInv(a/2; n, q), u = BinomInv(1 - a/2; n, q) + 1. A rank of 0 or n + 1 means that no
    observation bounds the quantile on that side.
    """
    alpha = 1.0 - confidence
    cdf = binomial_cdf(n, q)
    low = int(np.searchsorted(cdf, alpha / 2))
    high = int(np.searchsorted(cdf, 1.0 - alpha / 2)) + 1
    return low, high


def coverage(n: int, q: float, ranks: tuple[int, int]) -> float:
    """The probability that the order statistics of these ranks enclose the q-quantile."""
    cdf = binomial_cdf(n, q)
    low, high = ranks
    return float(cdf[min(high - 1, n)] - (cdf[low - 1] if low > 0 else 0.0))


def smallest_n_for_upper_bound(q: float, confidence: float = 0.95) -> int:
    """The smallest number of values whose maximum bounds the q-quantile from above.

    The maximum of n values exceeds the quantile with probability 1 - q^n: 299 values for p99,
    2,995 for p99.9.
    """
    return math.ceil(math.log(1.0 - confidence) / math.log(q))


def rank_interval(values: Values, q: float, confidence: float = 0.95) -> Interval:
    """The q-quantile of independent values with its order-statistic interval.

    A one-sided upper bound needs fewer values than a two-sided interval (for p99: 299 and 367).
    Between the two, the upper end is the maximum, with one-sided confidence.
    """
    ordered = np.sort(values)
    n = len(ordered)
    if n == 0:
        return Interval(math.nan, None, None, "no data")
    low, high = quantile_ranks(n, q, confidence)
    needed = smallest_n_for_upper_bound(q, confidence)
    return Interval(
        value=float(np.quantile(ordered, q)),
        low=float(ordered[low - 1]) if low >= 1 else None,
        high=float(ordered[min(high, n) - 1]) if n >= needed else None,
        note="" if n >= needed else f"no upper bound: {n} values, {needed} needed",
    )


def bootstrap_interval(
    values: Values,
    q: float,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    mean_block: float | None = None,
    resamples: int = 400,
) -> Interval:
    """The q-quantile of `values` *in time order* with a stationary-bootstrap percentile interval.

    For dependent data (Politis and Romano 1994): one slow second affects neighbouring requests, and
    blocks of geometric length keep that dependence. Like `rank_interval`, it gives no upper bound
    for too few values.
    """
    n = len(values)
    if n == 0:
        return Interval(math.nan, None, None, "no data")
    if mean_block is None:
        mean_block = optimal_mean_block(np.log(np.maximum(values, 1e-9)))
    drawn = np.empty(resamples)
    rank = min(n - 1, math.ceil(q * n) - 1) if n > 1 else 0
    for number in range(resamples):
        # One order statistic is much faster than an interpolated quantile, and accurate enough.
        drawn[number] = np.partition(values[stationary_indices(n, mean_block, rng)], rank)[rank]
    alpha = 1.0 - confidence
    low, high = np.quantile(drawn, [alpha / 2, 1.0 - alpha / 2])
    needed = smallest_n_for_upper_bound(q, confidence)
    too_few = f"no upper bound: {n} values, {needed} needed" if n < needed else ""
    return Interval(
        float(np.quantile(values, q)), float(low), None if too_few else float(high), too_few
    )


def stationary_indices(n: int, mean_block: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of one stationary-bootstrap resample: blocks with random starts that wrap around."""
    restarts = rng.random(n) < 1.0 / max(mean_block, 1.0)
    restarts[0] = True
    block = np.cumsum(restarts) - 1
    begins = np.flatnonzero(restarts)
    starts = rng.integers(0, n, len(begins))
    return (starts[block] + np.arange(n) - begins[block]) % n


def optimal_mean_block(values: Values) -> float:
    """The optimal mean block length for the series' autocorrelation; 1 for independent data.

    Politis and White (2004), with Patton's correction (2009), for the stationary bootstrap.
    """
    n = len(values)
    centred = values - values.mean()
    variance = float(centred @ centred) / n
    if n < 8 or variance <= 0:
        return 1.0
    runs = max(5, math.ceil(math.sqrt(math.log10(n))))
    longest = math.ceil(math.sqrt(n)) + runs
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum), size)[: longest + 1] / n
    small = np.abs(covariance[1:] / variance) < 2.0 * math.sqrt(math.log10(n) / n)
    lag = longest
    for start in range(longest - runs + 1):
        if small[start : start + runs].all():
            lag = start
            break
    reach = min(2 * max(lag, 1), longest)
    k = np.arange(1, reach + 1)
    taper = np.minimum(1.0, 2.0 * (1.0 - k / reach))
    weighted = 2.0 * float(np.sum(taper * k * covariance[1 : reach + 1]))
    level = variance + 2.0 * float(np.sum(taper * covariance[1 : reach + 1]))
    if level <= 0 or weighted == 0:
        return 1.0
    block = (weighted**2 / level**2) ** (1 / 3) * n ** (1 / 3)
    return float(min(max(1.0, block), math.ceil(min(3 * math.sqrt(n), n / 3))))


def wilson_interval(hits: int, n: int, confidence: float = 0.95) -> Interval:
    """A share of independent trials with Wilson's interval, whose upper end is above 0 for 0 of n."""
    if n == 0:
        return Interval(math.nan, None, None, "no data")
    z = {0.9: 1.6449, 0.95: 1.96, 0.99: 2.5758}[confidence]
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = max(0.0, centre - half) if hits else 0.0
    return Interval(share, low, min(1.0, centre + half) if hits < n else 1.0)


def share_interval(
    hits: NDArray[np.bool_], rng: np.random.Generator, *, resamples: int = 400
) -> Interval:
    """A share of outcomes *in time order*: the wider of Wilson's and the block bootstrap's."""
    n = len(hits)
    wilson = wilson_interval(int(hits.sum()), n)
    if n == 0 or hits.all() or not hits.any():
        return wilson
    series = hits.astype(np.float64)
    block = optimal_mean_block(series)
    drawn = [series[stationary_indices(n, block, rng)].mean() for _ in range(resamples)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(
        wilson.value, min(float(low), wilson.low or 0.0), max(float(high), wilson.high or 1.0)
    )

"""What a busy machine does to a measure without any fault: heavy tails, dependence and drift."""

from __future__ import annotations

import numpy as np

from lab.analysis.intervals.binomial import Values


def durations(
    rng: np.random.Generator, n: int, median: float, *, drift: float = 0.0, r: float = 0.5
) -> Values:
    """n durations in time order: lognormal with a Pareto tail, neighbours correlated by r, then a drift."""
    noise = rng.normal(size=n)
    level = np.empty(n)
    last = rng.normal()
    for at in range(n):
        last = r * last + np.sqrt(1 - r * r) * noise[at]
        level[at] = last
    tail = np.where(rng.random(n) < 0.05, rng.pareto(1.5, n) + 1.0, 1.0)
    slope = 1.0 + drift * np.linspace(0.0, 1.0, n)
    values: Values = median * np.exp(0.4 * level) * tail * slope
    return values


def outcomes(rng: np.random.Generator, n: int, probability: float, *, r: float = 0.5) -> list[bool]:
    """n outcomes in time order. They come in groups: each repeats the one before with probability r."""
    found: list[bool] = []
    for _ in range(n):
        repeats = found and rng.random() < r
        found.append(found[-1] if repeats else bool(rng.random() < probability))
    return found


def counts(
    rng: np.random.Generator, seconds: int, mean: float, *, drift: float = 0.0
) -> list[float]:
    """The number of events in each second: more variable than Poisson's distribution."""
    slope = 1.0 + drift * np.linspace(0.0, 1.0, seconds)
    return [float(rng.poisson(mean * each * rng.gamma(16.0, 1 / 16))) for each in slope]

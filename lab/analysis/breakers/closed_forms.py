"""Closed forms for a circuit breaker, to compare measurements with.

N window, f failure-rate threshold, m minimum calls, h permitted half-open calls, W wait in open (s),
r call rate (1/s), p error probability of a call. Independent errors; METHODS section 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lab.analysis.intervals import binomial_cdf


@dataclass(frozen=True)
class Settings:
    """The settings of a breaker. Times are in seconds, the threshold is a share."""

    window_size: int = 20
    failure_rate_threshold: float = 0.5
    minimum_calls: int = 10
    wait_open_s: float = 3.0
    permitted_half_open: int = 3


def trip_failures(window: int, threshold: float) -> int:
    """k: failures in a full window that open the breaker."""
    return math.ceil(threshold * window - 1e-9)


def tripped_within(calls: int, window: int, threshold: float, p: float) -> float:
    """P(T <= calls) from a window full of successes, for calls <= window: P(Bin(calls, p) >= k)."""
    if calls > window:
        raise ValueError(f"the form holds up to the window size {window}, got {calls} calls")
    k = trip_failures(window, threshold)
    return 1.0 - float(binomial_cdf(calls, p)[k - 1]) if calls >= k else 0.0


def calls_to_trip(window: int, threshold: float, p: float) -> float:
    """E[T] in calls from a window full of successes, ~ k/p (errors well above the threshold)."""
    return trip_failures(window, threshold) / p


def calls_to_trip_from_empty(settings: Settings, p: float) -> float:
    """E[T] in calls after the breaker closed: it cannot open before the minimum number of calls."""
    k = trip_failures(settings.minimum_calls, settings.failure_rate_threshold)
    return max(float(settings.minimum_calls), k / p)


def consecutive_calls_to_trip(k: int, p: float) -> float:
    """E[T] in calls of a breaker that counts k failures in a row: (p^-k - 1)/(1 - p)."""
    return (p**-k - 1.0) / (1.0 - p)


def half_open_passes(h: int, threshold: float, p: float) -> float:
    """q: the probability that a half-open round closes the breaker, P(Bin(h, p) < ceil(f h))."""
    return float(binomial_cdf(h, p)[trip_failures(h, threshold) - 1])


def open_fraction(settings: Settings, rate_per_s: float, p: float) -> float:
    """The share of time spent open while errors last: (W/q) / (E[Tc] + (W + h/r)/q)."""
    h, wait_s = settings.permitted_half_open, settings.wait_open_s
    q = half_open_passes(h, settings.failure_rate_threshold, p)
    if q == 0.0:
        return wait_s / (wait_s + h / rate_per_s)  # it never closes: open and half-open alternate
    closed_s = calls_to_trip_from_empty(settings, p) / rate_per_s
    return (wait_s / q) / (closed_s + (wait_s + h / rate_per_s) / q)


def recovery_s(wait_open_s: float, h: int, rate_per_s: float) -> float:
    """Expected seconds from the fault's end to closed: W/2 (the end falls anywhere in the wait) + h/r."""
    return wait_open_s / 2.0 + h / rate_per_s


def detection_s(settings: Settings, rate_per_s: float, p: float, call_s: float) -> float:
    """Expected seconds from the first failing call to open: calls to trip at rate r, plus a call."""
    calls = calls_to_trip(settings.window_size, settings.failure_rate_threshold, p)
    return calls / rate_per_s + call_s


def detection_interval_s(
    settings: Settings, rate_per_s: float, p: float, call_s: float, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval that contains one run's detection time with probability `confidence`.

    Failures arrive as a Poisson process of rate r p, so the k-th arrives after a Gamma(k, r p)
    time. One call time is added.
    """
    k = trip_failures(settings.window_size, settings.failure_rate_threshold)
    tail = (1.0 - confidence) / 2.0
    low, high = (_kth_arrival_s(k, rate_per_s * p, q) for q in (tail, 1.0 - tail))
    return low + call_s, high + call_s


def recovery_interval_s(
    wait_open_s: float, h: int, rate_per_s: float, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval that contains one run's recovery time with probability `confidence` or more.

    The fault ends at a uniform time within the wait, then h trial calls arrive.
    """
    tail = (1.0 - confidence) / 4.0  # half for the wait, half for the trial calls
    low_s, high_s = (_kth_arrival_s(h, rate_per_s, q) for q in (tail, 1.0 - tail))
    return tail * wait_open_s + low_s, (1.0 - tail) * wait_open_s + high_s


def _kth_arrival_s(k: int, rate_per_s: float, q: float) -> float:
    """The q-quantile of Gamma(k, rate): P(t) = 1 - P(Poisson(rate t) < k), by bisection."""

    def probability(expected: float) -> float:
        term = total = math.exp(-expected)
        for count in range(1, k):
            term *= expected / count
            total += term
        return 1.0 - total

    low, high = 0.0, float(k)
    while probability(high) < q:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if probability(middle) < q else (low, middle)
    return high / rate_per_s

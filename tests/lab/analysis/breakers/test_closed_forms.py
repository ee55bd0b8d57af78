"""The closed forms, checked with known values (ground truths 11 to 14) and with the real breaker."""

from __future__ import annotations

from random import Random

import pytest

from chassis.resilience.breaker import Breaker, State
from chassis.resilience.errors import BreakerOpenError
from lab.analysis.breakers import closed_forms as theory
from lab.analysis.breakers.closed_forms import Settings
from tests.lab.analysis.simulation import SimClock

METHODS_13 = Settings(20, 0.5, 20, 10.0, 5)


@pytest.mark.parametrize(("p", "calls"), [(1.0, 50.0), (0.8, 62.5)])
def test_calls_to_trip_a_full_window(p: float, calls: float) -> None:
    assert theory.calls_to_trip(100, 0.5, p) == calls


def test_consecutive_failures_take_long_at_moderate_errors() -> None:
    assert theory.consecutive_calls_to_trip(5, 0.2) == pytest.approx(3905)


def test_open_fraction_under_lasting_errors() -> None:
    assert theory.open_fraction(METHODS_13, 10.0, 0.7) == pytest.approx(0.923, abs=0.001)


def test_recovery_is_half_a_wait_and_the_trial_calls() -> None:
    assert theory.recovery_s(10.0, 10, 50.0) == pytest.approx(5.2)


def test_the_probability_of_having_tripped_grows_to_one() -> None:
    chances = [theory.tripped_within(n, 20, 0.5, 0.9) for n in range(21)]
    assert chances[9] == 0.0
    assert chances == sorted(chances)
    assert chances[20] > 0.999
    with pytest.raises(ValueError, match="up to the window size 20"):
        theory.tripped_within(21, 20, 0.5, 0.9)


@pytest.mark.parametrize("p", [0.8, 1.0])
def test_the_real_breaker_trips_as_predicted(p: float) -> None:
    rng, took = Random(12), []
    for _ in range(400):
        breaker = Breaker("a->b", window_size=100, minimum_calls=100, clock=SimClock())  # type: ignore[arg-type]
        for _ in range(100):
            breaker.record(breaker.acquire(), 0.01)
        calls = 0
        while breaker.state is State.CLOSED:
            breaker.record(breaker.acquire(), 0.01, failed=rng.random() < p)
            calls += 1
        took.append(calls)
    assert sum(took) / len(took) == pytest.approx(theory.calls_to_trip(100, 0.5, p), rel=0.02)


def test_the_real_breaker_is_open_for_the_predicted_share() -> None:
    rng, clock = Random(13), SimClock()
    breaker = Breaker(
        "a->b", window_size=20, minimum_calls=20, wait_open_s=10.0, permitted_half_open=5,
        clock=clock,  # type: ignore[arg-type]
    )  # fmt: skip
    is_open = calls = 0
    while calls < 200_000:
        calls += 1
        clock.now_s += 0.1
        try:
            breaker.record(breaker.acquire(), 0.01, failed=rng.random() < 0.7)
        except BreakerOpenError:
            is_open += 1
    assert is_open / calls == pytest.approx(theory.open_fraction(METHODS_13, 10.0, 0.7), abs=0.01)


def test_95_of_100_runs_are_in_the_interval_of_detection() -> None:
    settings, rate_per_s, p, runs = Settings(window_size=20), 12.0, 0.9, 1500
    low, high = theory.detection_interval_s(settings, rate_per_s, p, 0.0)
    assert low < theory.detection_s(settings, rate_per_s, p, 0.0) < high
    rng, inside = Random(14), 0
    for _ in range(runs):
        clock = SimClock()
        breaker = Breaker("a->b", window_size=20, minimum_calls=10, clock=clock)  # type: ignore[arg-type]
        for _ in range(20):
            breaker.record(breaker.acquire(), 0.01)
        began = clock.now_s
        while breaker.state is State.CLOSED:
            clock.now_s += rng.expovariate(rate_per_s)
            breaker.record(breaker.acquire(), 0.01, failed=rng.random() < p)
        inside += low <= clock.now_s - began <= high
    assert inside / runs == pytest.approx(0.95, abs=0.02)


def test_at_least_95_of_100_runs_are_in_the_interval_of_recovery() -> None:
    wait_s, probes, rate_per_s, runs = 3.0, 3, 8.0, 20_000
    low, high = theory.recovery_interval_s(wait_s, probes, rate_per_s)
    rng = Random(15)
    took = [
        rng.uniform(0, wait_s) + sum(rng.expovariate(rate_per_s) for _ in range(probes))
        for _ in range(runs)
    ]
    inside = sum(low <= each <= high for each in took) / runs
    assert 0.95 <= inside < 1.0
    assert low < sum(took) / runs < high

"""Noise is never an effect, and an effect of the promised size is confirmed in 19 of 20 runs."""

from collections.abc import Callable

import numpy as np
import pytest

from lab.analysis.fault_evidence.effect import (
    Effect,
    chances_needed,
    presence,
    rate,
    share,
    shift,
)  # fmt: skip
from tests.lab.analysis.fault_evidence.noise import counts, durations, outcomes

SEEDS = 200
DRIFT = 0.2
Case = Callable[[np.random.Generator, bool], Effect]


def slow(n: int, median_ms: float, latency_ms: float, r: float) -> Case:
    def effect(rng: np.random.Generator, works: bool) -> Effect:
        before = durations(rng, n, median_ms, r=r)
        during = durations(rng, n, median_ms * (1 + DRIFT), r=r) + latency_ms * works
        return shift("median", "the caller", "ms", before, during, latency_ms / 2)

    return effect


def failing(n: int, before_share: float, fault_share: float, r: float) -> Case:
    def effect(rng: np.random.Generator, works: bool) -> Effect:
        before = outcomes(rng, n, before_share, r=r)
        during = outcomes(rng, n, before_share * (1 + DRIFT), r=r)
        if works:
            during = [bad or bool(rng.random() < fault_share) for bad in during]
        return share("failed", "the caller", before, during, fault_share / 3)

    return effect


def counted(seconds: int, mean: float, more: float) -> Case:
    def effect(rng: np.random.Generator, works: bool) -> Effect:
        before = counts(rng, seconds, mean, drift=DRIFT)
        during = counts(rng, seconds, mean * (1 + DRIFT) + more * works)
        return rate("misses", "the cache", before, during, more / 2)

    return effect


CASES = {
    "bank 2 s late, few calls": slow(15, 20.0, 2000.0, 0.5),
    "bank 2 s late, dependent": slow(75, 20.0, 2000.0, 0.9),
    "database 50 ms late": slow(75, 5.0, 50.0, 0.5),
    "database 50 ms late, many": slow(1000, 5.0, 50.0, 0.75),
    "less than the noise": slow(75, 20.0, 100.0, 0.75),
    "all fail": failing(30, 0.0, 1.0, 0.0),
    "80% fail": failing(100, 0.01, 0.8, 0.3),
    "30% fail": failing(600, 0.02, 0.3, 0.3),
    "misses": counted(15, 2.0, 20.0),
    "rare misses": counted(15, 0.1, 10.0),
}


@pytest.mark.parametrize("name", CASES)
def test_noise_is_never_confirmed_and_the_fault_is(name: str) -> None:
    inert = [CASES[name](np.random.default_rng(seed), False) for seed in range(SEEDS)]
    assert [str(each) for each in inert if each.status == "confirmed"] == []
    working = [CASES[name](np.random.default_rng(seed), True).status for seed in range(SEEDS)]
    assert working.count("confirmed") >= 0.95 * SEEDS
    assert "mismatch" not in working


@pytest.mark.parametrize("seed", range(20))
def test_a_fault_that_does_nothing_is_a_mismatch(seed: int) -> None:
    effect = slow(75, 20.0, 2000.0, 0.5)(np.random.default_rng(seed), False)
    assert effect.status == "mismatch"
    assert effect.high is not None
    assert effect.high < 1000.0


def test_a_latency_of_zero_is_a_mismatch_whatever_the_noise_shows() -> None:
    effect = shift("median", "the caller", "ms", np.full(20, 2.0), np.full(20, 9.0), 0.0)
    assert effect.status == "mismatch"


def test_too_few_observations_decide_nothing() -> None:
    effect = shift("median", "the caller", "ms", np.full(5, 2.0), np.full(50, 900.0), 100.0)
    assert effect.status == "inconclusive"
    assert effect.note == "6 observations needed, 5 before and 50 during"
    assert share("failed", "the caller", [], [True] * 50, 0.5).status == "inconclusive"
    assert rate("misses", "the cache", [], [9.0] * 50, 0.5).status == "inconclusive"


@pytest.mark.parametrize(
    ("before", "during", "chances", "expected", "status"),
    [
        (0, 1, 9, 1.0, "confirmed"),
        (0, 0, 9, 1.0, "mismatch"),
        (0, 0, 9, 0.2, "inconclusive"),
        (0, 0, 21, 0.2, "mismatch"),
        (0, 0, 0, 1.0, "inconclusive"),
        (1, 9, 9, 1.0, "inconclusive"),
    ],
)
def test_an_event_of_the_fault_alone_is_proof_and_its_absence_needs_chances(
    before: int, during: int, chances: int, expected: float, status: str
) -> None:
    assert presence("dead letter", "NATS", before, during, chances, expected).status == status


def test_a_share_of_twenty_percent_shows_within_21_chances() -> None:
    assert (chances_needed(0.2), chances_needed(1.0), chances_needed(0.0)) == (21, 1, None)

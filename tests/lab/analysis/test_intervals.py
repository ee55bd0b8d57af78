"""Intervals of quantiles and shares: ranks, bootstrap, Wilson."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lab.analysis import intervals


def test_order_statistic_ranks_of_p99_in_2000_values() -> None:
    ranks = intervals.quantile_ranks(2000, 0.99)
    assert ranks == (1971, 1989)
    assert intervals.coverage(2000, 0.99, ranks) == pytest.approx(0.958, abs=0.0005)


def test_an_upper_bound_of_p99_needs_299_values_and_of_p999_2995() -> None:
    assert intervals.smallest_n_for_upper_bound(0.99) == 299
    assert intervals.smallest_n_for_upper_bound(0.999) == 2995
    rng = np.random.default_rng(1)
    for make in (
        intervals.rank_interval,
        lambda values, q: intervals.bootstrap_interval(values, q, rng),
    ):
        refused = make(np.arange(1.0, 299.0), 0.99)
        assert refused.high is None
        assert refused.note == "no upper bound: 298 values, 299 needed"
        granted = make(np.arange(1.0, 300.0), 0.99)
        assert granted.high is not None
        assert granted.note == ""


def test_the_rank_interval_covers_the_quantile_of_independent_data() -> None:
    rng, hits, rounds = np.random.default_rng(2), 0, 400
    truth = -math.log(0.05)
    for _ in range(rounds):
        found = intervals.rank_interval(rng.exponential(size=400), 0.95)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    assert hits / rounds >= 0.93


def test_the_block_bootstrap_covers_autocorrelated_data_and_ranks_do_not() -> None:
    rng, rounds = np.random.default_rng(3), 60
    truth = 1.6449 / math.sqrt(1 - 0.81)
    covered = {"rank": 0, "bootstrap": 0}
    for _ in range(rounds):
        series = np.zeros(2000)
        noise = rng.normal(size=2000)
        series[0] = noise[0] / math.sqrt(1 - 0.81)
        for i in range(1, 2000):
            series[i] = 0.9 * series[i - 1] + noise[i]
        shifted, true_value = np.exp(series), math.exp(truth)
        found = {
            "rank": intervals.rank_interval(shifted, 0.95),
            "bootstrap": intervals.bootstrap_interval(shifted, 0.95, rng, resamples=200),
        }
        for name, each in found.items():
            covered[name] += (each.low or 0.0) <= true_value <= (each.high or math.inf)
    assert covered["rank"] / rounds < 0.75
    assert covered["bootstrap"] / rounds > 0.8


def test_the_block_length_grows_with_the_dependence() -> None:
    rng = np.random.default_rng(4)
    independent = rng.normal(size=2000)
    dependent = np.convolve(rng.normal(size=2049), np.ones(50), "valid")
    assert intervals.optimal_mean_block(independent) < 5
    assert intervals.optimal_mean_block(dependent) > 30
    assert intervals.optimal_mean_block(np.ones(100)) == 1.0


def test_stationary_indices_are_blocks_of_the_mean_length() -> None:
    index = intervals.stationary_indices(100_000, 25.0, np.random.default_rng(5))
    breaks = np.count_nonzero(np.diff(index) % 100_000 != 1)
    assert 100_000 / breaks == pytest.approx(25.0, rel=0.05)
    assert np.min(index) >= 0
    assert np.max(index) < 100_000


def test_zero_failures_have_an_upper_bound_above_zero() -> None:
    found = intervals.share_interval(np.zeros(100, dtype=bool), np.random.default_rng(6))
    assert found.value == 0.0
    assert found.high == pytest.approx(0.037, abs=0.001)


def test_without_values_there_is_no_interval() -> None:
    rng = np.random.default_rng(7)
    for found in (
        intervals.rank_interval(np.array([]), 0.5),
        intervals.bootstrap_interval(np.array([]), 0.5, rng),
        intervals.wilson_interval(0, 0),
    ):
        assert math.isnan(found.value)
        assert found.note == "no data"

"""Intervals of quantiles and shares: exact values, measured coverage, refusals, decisions.

bench/coverage.py measures the whole table of docs/intervals.md; this is a part of it.
"""

from __future__ import annotations

import math
import time
from statistics import NormalDist

import numpy as np
import pytest

from bench.coverage import (
    SERIES,
    SERIES_OF_FAILURES,
    WIDTH,
    Cell,
    Series,
    quantile_cell,
    ratio_cell,
)
from lab.analysis.intervals import (
    Equivalence,
    Interval,
    Values,
    equivalent,
    holm,
    quantile_interval,
    ratio_interval,
    requests_needed,
    share_interval,
)
from lab.analysis.intervals.binomial import (
    beta_cdf,
    binomial_cdf,
    clopper_pearson,
    coverage,
    quantile_ranks,
    smallest_n,
    t_quantile,
)
from lab.analysis.intervals.dependence import dependence_of_hits

INDEPENDENT, AR_5, AR_9, BURSTS_5, BURSTS_20 = SERIES
SMALLEST = {0.5: 30, 0.75: 30, 0.9: 30, 0.95: 59, 0.99: 299}


# Exact intervals


def test_order_statistic_ranks_of_p99_in_2000_values() -> None:
    ranks = quantile_ranks(2000, 0.99)
    assert ranks == (1971, 1989)
    assert coverage(2000, 0.99, ranks) == pytest.approx(0.958, abs=0.0005)


def test_an_upper_bound_of_p99_needs_299_values_and_of_p999_2995() -> None:
    assert [smallest_n(q) for q in (0.5, 0.95, 0.99, 0.999)] == [6, 59, 299, 2995]
    refused = quantile_interval(np.random.default_rng(1).exponential(size=298), 0.99)
    assert (refused.low, refused.high) == (None, None)
    assert refused.note == "no upper bound: 298 values, 299 needed"


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
def test_the_ranks_cover_the_quantile_with_95_percent_from_the_smallest_n_on(q: float) -> None:
    for n in [*range(smallest_n(q), smallest_n(q) + 150), 1000, 2995]:
        ranks = quantile_ranks(n, q)
        assert ranks is not None
        assert coverage(n, q, ranks) >= 0.95
    assert quantile_ranks(smallest_n(q) - 1, q) is None


def test_the_beta_distribution_agrees_with_the_binomial_and_students_t_with_its_tables() -> None:
    for n, p, k in ((20, 0.3, 4), (300, 0.01, 0), (300, 0.99, 298), (2000, 0.5, 1030)):
        assert beta_cdf(1 - p, n - k, k + 1) == pytest.approx(binomial_cdf(n, p)[k], abs=1e-10)
    found = [t_quantile(0.975, freedom) for freedom in (1, 2, 9)]
    assert found == pytest.approx([12.7062, 4.3027, 2.2622], abs=1e-4)


def test_clopper_and_pearsons_intervals_agree_with_published_values() -> None:
    assert clopper_pearson(5, 100) == pytest.approx((0.01643, 0.11284), abs=1e-5)
    assert clopper_pearson(95, 100) == pytest.approx((0.88716, 0.98357), abs=1e-5)
    assert clopper_pearson(1, 84) == pytest.approx((0.000301, 0.064552), abs=1e-6)


def test_no_failure_in_299_bounds_the_ratio_by_1_percent() -> None:
    assert clopper_pearson(0, 298)[1] > 0.01 > clopper_pearson(0, 299)[1]
    found = share_interval(np.zeros(100, dtype=bool))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(0.0295, abs=0.0001)


@pytest.mark.parametrize("n", [30, 100, 300])
def test_the_interval_of_a_share_covers_each_share_with_94_5_percent(n: int) -> None:
    ends = np.array([clopper_pearson(k, n) for k in range(n + 1)])
    for share in np.linspace(0.001, 0.5, 300):
        chance = np.diff(binomial_cdf(n, float(share)), prepend=0.0)
        inside = (ends[:, 0] <= share) & (share <= ends[:, 1])
        assert chance[inside].sum() >= 0.945


# Coverage, by simulation


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    quantiles = {
        INDEPENDENT: ["30 p50", "59 p95", "75 p75", "150 p90", "299 p99", "1000 p95", "1000 p99"],
        AR_5: ["60 p50", "150 p75", "300 p90", "300 p95", "1000 p95"],
        AR_9: ["300 p50", "1000 p75", "1000 p90"],
        BURSTS_5: ["1000 p50", "1000 p75"],
        BURSTS_20: ["300 p75", "1000 p90", "1000 p95"],
    }
    ratios = {
        INDEPENDENT: ["75 20%", "300 5%", "1000 1%"],
        AR_5: ["150 20%", "300 5%", "1000 1%"],
        AR_9: ["1000 5%", "300 20%"],
        SERIES_OF_FAILURES[-1]: ["1000 5%", "300 20%"],
    }

    def each(of: dict[Series, list[str]]) -> list[tuple[Series, int, str]]:
        split = [(series, name.split()) for series, names in of.items() for name in names]
        return [(series, int(n), name) for series, (n, name) in split]

    return [
        *(quantile_cell(series, n, name, 300, seed=20) for series, n, name in each(quantiles)),
        *(ratio_cell(series, n, f"errors {p}", 200, seed=20) for series, n, p in each(ratios)),
    ]


def test_the_intervals_cover_independent_autocorrelated_and_bursty_data(cells: list[Cell]) -> None:
    assert all(cell.counts for cell in cells)
    assert [cell for cell in cells if not cell.ok] == []


def test_for_independent_data_the_median_width_is_at_most_1_3_times_the_exact_one(
    cells: list[Cell],
) -> None:
    widths = [cell.width for cell in cells if cell.series == "independent"]
    assert len(widths) == 10
    assert all(width is not None and width <= WIDTH for width in widths)


@pytest.mark.parametrize("q", SMALLEST)
def test_independent_data_are_answered_from_the_smallest_n(q: float) -> None:
    n, rng = SMALLEST[q], np.random.default_rng(21)
    answered = [quantile_interval(rng.exponential(size=n), q).high is not None for _ in range(200)]
    assert sum(answered) > 160
    assert quantile_interval(rng.exponential(size=n - 1), q).high is None


def test_a_p95_is_refused_if_the_data_depend_on_each_other_too_much() -> None:
    dependent = quantile_cell(AR_9, 100, "p95", 100, seed=22)
    assert dependent.answered < 0.05
    series = AR_9.latencies(1, 100, np.random.default_rng(23))[0][0]
    found = quantile_interval(series, 0.95)
    assert (found.low, found.high) == (None, None)
    assert found.note.startswith("dependent values: 100, about ")


def test_failures_in_one_group_have_no_interval_and_the_note_says_why() -> None:
    hits = np.zeros(300, dtype=bool)
    hits[100:110] = True
    found = share_interval(hits)
    assert found.value == pytest.approx(1 / 30)
    assert (found.low, found.high) == (None, None)
    assert found.note == "dependent outcomes: one group does not show how often groups come"


def test_the_interval_is_wider_if_failures_come_in_groups() -> None:
    alone, groups = np.zeros(1000, dtype=bool), np.zeros(1000, dtype=bool)
    alone[::20] = True
    for start in (40, 210, 260, 530, 880):
        groups[start : start + 10] = True
    one, other = share_interval(alone), share_interval(groups)
    assert one.value == other.value == 0.05
    assert one.high is not None
    assert other.high is not None
    assert other.high > 1.5 * one.high
    assert other.tau > 5


def test_the_higher_confidence_of_several_limits_is_kept() -> None:
    rng, truth = np.random.default_rng(24), NormalDist().inv_cdf(0.9)
    series = AR_5.normal(300, 600, rng)
    found = [quantile_interval(row, 0.9, confidence=0.99) for row in series]
    ends = [
        (each.low, each.high) for each in found if each.low is not None and each.high is not None
    ]
    assert len(ends) > 250
    assert np.mean([low <= truth <= high for low, high in ends]) >= 0.98


def test_equal_values_and_rounding_do_not_look_dependent() -> None:
    assert quantile_interval(np.ones(100), 0.5) == Interval(1.0, 1.0, 1.0)
    starts = np.arange(100.0)
    rounded = quantile_interval((starts + 0.1) - starts, 0.5)
    assert rounded.low == pytest.approx(0.1)
    assert rounded.tau == 1.0


def test_a_low_quantile_is_the_mirror_of_a_high_one() -> None:
    values = np.random.default_rng(25).exponential(size=500)
    low, high = quantile_interval(values, 0.1), quantile_interval(-values, 0.9)
    assert high.high is not None
    assert low.value == pytest.approx(-high.value)
    assert low.low == pytest.approx(-high.high)


def test_the_same_data_give_the_same_interval() -> None:
    values = np.random.default_rng(26).exponential(size=500)
    assert quantile_interval(values, 0.95) == quantile_interval(values, 0.95)


def test_without_values_there_is_no_interval() -> None:
    for found in (quantile_interval(np.array([]), 0.5), share_interval(np.array([], dtype=bool))):
        assert math.isnan(found.value)
        assert found.note == "no data"


@pytest.mark.alone
def test_a_million_values_take_less_than_a_second() -> None:
    values = np.random.default_rng(27).exponential(size=1_000_000)
    started = time.process_time()
    assert quantile_interval(values, 0.99).high is not None
    assert time.process_time() - started < 1.0


def test_the_dispersion_of_groups_is_the_size_of_a_group() -> None:
    rng = np.random.default_rng(28)
    hits = np.repeat(rng.random((200, 300)) < 0.05, 8, axis=1)
    mean = np.mean([dependence_of_hits(row).dispersion for row in hits])
    assert mean == pytest.approx(8, rel=0.05)


# Decisions


def test_holm_examines_undecided_limits_again_when_others_are_decided() -> None:
    decided_up_to = [0.99, 0.976, 0.94]
    found = holm(lambda i, confidence: confidence <= decided_up_to[i], 3)
    assert found == pytest.approx([1 - 0.05 / 3, 1 - 0.05 / 2, 0.95])
    assert holm(lambda i, confidence: True, 2) == pytest.approx([0.975, 0.975])
    assert holm(lambda i, confidence: False, 1) == [0.95]
    assert holm(lambda i, confidence: True, 0) == []


def test_holm_keeps_the_risk_of_a_wrong_decision_in_a_whole_run() -> None:
    """Five true limits, each exactly at the truth: any decision is wrong."""
    rng, wrong = np.random.default_rng(29), 0
    for _ in range(400):
        p_values = rng.random(5)

        def decided(limit: int, confidence: float, p_values: Values = p_values) -> bool:
            return bool(p_values[limit] <= 1 - confidence)

        used = holm(decided, 5)
        wrong += any(decided(limit, confidence) for limit, confidence in enumerate(used))
    assert wrong / 400 <= 0.06


def test_requests_needed_for_a_decision() -> None:
    assert requests_needed(0.0, 0.01) == 299
    assert requests_needed(0.0, 0.05) == 59  # a p95 with no request above the limit
    assert requests_needed(0.0, 0.01, tau=3.0) == 897
    kept, broken = requests_needed(0.008, 0.01), requests_needed(0.02, 0.01)
    assert kept is not None
    assert broken is not None
    assert kept > 5000 > 1000 > broken
    assert clopper_pearson(0.02 * broken, broken)[0] > 0.01
    assert requests_needed(0.01, 0.01) is None
    assert requests_needed(0.0, 0.01, tau=math.inf) is None


def test_requests_needed_grows_with_the_confidence() -> None:
    least, more = (requests_needed(0.02, 0.01, confidence=each) for each in (0.95, 0.99))
    assert least is not None
    assert more is not None
    assert more > least


@pytest.mark.parametrize(
    ("low", "value", "high", "result"),
    [
        (98, 100, 102, Equivalence.EQUIVALENT),
        (103, 105, 107, Equivalence.EQUIVALENT),
        (95, 100, 120, Equivalence.INCONCLUSIVE),
        (85, 90, 95, Equivalence.INCONCLUSIVE),
        (70, 75, 80, Equivalence.DIFFERENT),
        (150, 200, 250, Equivalence.DIFFERENT),
    ],
)
def test_equivalence_needs_the_whole_interval_of_the_ratio_within_the_margin(
    low: float, value: float, high: float, result: Equivalence
) -> None:
    before = Interval(100.0, 98.0, 102.0)
    assert equivalent(before, Interval(value, low, high), 0.1) == result


def test_without_an_end_equivalence_is_inconclusive() -> None:
    known = Interval(100.0, 99.0, 101.0)
    assert equivalent(known, Interval(100.0, 99.0, None), 0.1) == Equivalence.INCONCLUSIVE
    assert equivalent(Interval(0.0, 0.0, 1.0), known, 0.1) == Equivalence.INCONCLUSIVE
    with pytest.raises(ValueError, match="more than 0"):
        equivalent(known, known, 0.0)


def test_a_value_of_0_is_compared_by_its_upper_end() -> None:
    before = Interval(0.9, 0.8, 0.95)
    assert ratio_interval(before, Interval(0.0, 0.0, 0.4)) == Interval(0.0, 0.0, 0.5)
    assert equivalent(before, Interval(0.0, 0.0, 0.4), 0.1) == Equivalence.DIFFERENT
    assert equivalent(before, Interval(0.0, 0.0, 0.8), 0.1) == Equivalence.INCONCLUSIVE


def test_the_interval_of_a_ratio_covers_the_true_ratio() -> None:
    rng, covered = np.random.default_rng(30), []
    for _ in range(300):
        before, during = (quantile_interval(rng.exponential(each, 300), 0.9) for each in (1.0, 1.2))
        found = ratio_interval(before, during)
        if found.low is not None and found.high is not None:
            covered.append(found.low <= 1.2 <= found.high)
    assert len(covered) > 270
    assert np.mean(covered) >= 0.95


def test_10_percent_less_goodput_is_called_equivalent_in_at_most_5_percent_of_runs() -> None:
    rng, wrong, right = np.random.default_rng(31), 0, 0
    for _ in range(300):
        before = share_interval(rng.random(600) < 0.999)
        wrong += equivalent(before, share_interval(rng.random(600) < 0.9), 0.1) == "equivalent"
        right += equivalent(before, share_interval(rng.random(600) < 0.999), 0.1) == "equivalent"
    assert wrong / 300 <= 0.05
    assert right / 300 >= 0.95

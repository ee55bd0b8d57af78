"""Percentiles without an interval, decided by their slower requests; goodput without a good request."""

import numpy as np
import pytest

from bench.coverage import SERIES, Series
from lab.analysis.intervals import Values
from lab.analysis.verdict.answers import Answer
from lab.analysis.verdict.measures import Goodput, Percentile

SERIES_COUNT = 150
INDEPENDENT, AR_5, AR_9, *_ = SERIES


@pytest.mark.parametrize(
    "series", [INDEPENDENT, AR_5, AR_9], ids=["independent", "AR(.5)", "AR(.9)"]
)
@pytest.mark.parametrize("n", [75, 300])
def test_a_limit_at_the_true_percentile_is_hardly_ever_kept(series: Series, n: int) -> None:
    latencies = series.latencies(SERIES_COUNT, n, np.random.default_rng(n))[0]
    truth = series.latencies(400, 1000, np.random.default_rng(1))[0]
    limit = float(np.quantile(truth, 0.95))
    answers = [_answer(values, limit) for values in latencies]
    assert answers.count(Answer.KEPT) <= 0.07 * SERIES_COUNT


def test_a_limit_far_above_independent_values_is_kept() -> None:
    latencies = INDEPENDENT.latencies(SERIES_COUNT, 150, np.random.default_rng(2))[0]
    answers = [_answer(values, 10 * float(values.max())) for values in latencies]
    assert answers.count(Answer.KEPT) >= 0.95 * SERIES_COUNT


def test_no_slow_request_of_dependent_values_keeps_nothing() -> None:
    values = np.repeat(np.array([10.0, 500.0, 20.0, 400.0, 30.0]), 30)  # worth five values
    assert _answer(values, 1000.0) == Answer.UNDECIDED


def _answer(values: Values, limit: float) -> Answer:
    percentile = Percentile(values, 0.95)
    return percentile.answer(percentile.interval(0.95), limit, 0.95)[0]


def test_goodput_without_a_good_request_has_an_upper_end() -> None:
    """No event in 30 s: the score interval of a Poisson count of 0 is 0 to z^2 = 3.84 in that time."""
    nothing = Goodput(np.ones(300, dtype=bool), span_s=30.0)
    found = nothing.interval(0.95)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(3.84 / 30, abs=1e-3)
    assert nothing.answer(found, 5.0, 0.95)[0] == Answer.BROKEN
    assert nothing.answer(found, 0.1, 0.95)[0] == Answer.UNDECIDED
    assert nothing.needed(found, 0.1, 0.95) == pytest.approx(300 * 38.4 / 30, abs=2)

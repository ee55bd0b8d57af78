"""A percentile that has no interval is decided by its slower requests, at their effective number."""

import numpy as np
import pytest

from bench.coverage import SERIES, Series
from lab.analysis.intervals import Values
from lab.analysis.verdict.answers import Answer
from lab.analysis.verdict.measures import Percentile

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

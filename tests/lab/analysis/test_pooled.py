"""Shares over several runs: the runs are clusters, and looking after each of them costs confidence."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.analysis.intervals import Interval, mean_interval, pooled_share, share_interval

Outcomes = list[NDArray[np.bool_]]


def runs_of(
    rng: np.random.Generator, share: float, runs: int, requests: int, spread: float = 0.0
) -> Outcomes:
    """Runs whose own shares vary around `share`, by a beta distribution with this standard deviation."""
    own = np.full(runs, share)
    if spread:
        size = share * (1 - share) / spread**2 - 1
        own = rng.beta(share * size, (1 - share) * size, runs)
    return [rng.random(requests) < each for each in own]


def covers(found: Interval, share: float) -> bool | None:
    return None if found.low is None or found.high is None else found.low <= share <= found.high


@pytest.mark.parametrize("runs", [2, 5, 10])
@pytest.mark.parametrize("spread", [0.0, 0.03, 0.1])
def test_the_interval_over_runs_covers_the_share_also_if_runs_differ(
    runs: int, spread: float
) -> None:
    rng = np.random.default_rng([1, runs])
    found = [covers(pooled_share(runs_of(rng, 0.1, runs, 200, spread)), 0.1) for _ in range(400)]
    answered = [each for each in found if each is not None]
    assert len(answered) == 400
    # 0.93, less two standard deviations of 400 simulations; docs/intervals.md has 4,000 a cell.
    assert np.mean(answered) >= 0.93 - 2 * (0.93 * 0.07 / 400) ** 0.5


def test_runs_without_hits_add_up() -> None:
    none = np.zeros(150, dtype=bool)
    assert (share_interval(none).high or 0) > 0.01
    assert (pooled_share([none, none]).high or 1) < 0.01


def test_hits_in_one_of_several_runs_do_not_show_how_often_such_runs_come() -> None:
    bad, good = np.ones(100, dtype=bool), np.zeros(100, dtype=bool)
    found = pooled_share([bad, good, good])
    assert found.low == pytest.approx(0.0, abs=1e-3)
    assert (found.high or 0) > 0.99
    grouped = pooled_share([np.arange(100) < 10, good, good])
    assert (grouped.low, grouped.high) == (None, None)
    assert grouped.note.endswith("one run does not show how often groups come")


def test_a_run_without_an_interval_counts_as_one_cluster() -> None:
    grouped = np.arange(200) < 20  # one group of hits: no interval on its own
    assert share_interval(grouped).low is None
    four = pooled_share([grouped] * 4)
    assert four.low is not None
    assert four.low < 0.1 < (four.high or 0)


def test_one_run_alone_is_as_without_a_pool() -> None:
    hits = np.random.default_rng(3).random(300) < 0.05
    assert pooled_share([hits]) == share_interval(hits)
    assert pooled_share([]).note == "no data"


def test_the_mean_of_runs_needs_three_of_them() -> None:
    assert mean_interval([0.1, 0.2]).note == "2 runs, 3 needed"
    found = mean_interval([0.1, 0.2, 0.3])
    assert (found.low, found.high) == pytest.approx((-0.0484, 0.4484), abs=1e-3)


def test_a_look_after_each_of_five_runs_keeps_a_limit_wrongly_in_at_most_5_percent() -> None:
    """The true share is just above the limit: each look that calls it kept is wrong."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(600):
        runs = runs_of(rng, 0.051, 5, 120)
        highs = [pooled_share(runs[: k + 1], confidence=1 - 0.05 / 5).high for k in range(5)]
        wrong += any(high is not None and high <= 0.05 for high in highs)
    assert wrong / 600 <= 0.05

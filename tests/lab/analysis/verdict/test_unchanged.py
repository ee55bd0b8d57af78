"""Unchanged means equivalent within a margin; overlapping intervals are not enough."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from lab.analysis.verdict.unchanged import unchanged
from lab.archive import Run
from tests.lab.analysis.request_rows import request

Tiny = Callable[..., Run]

PHASES = [
    {"name": "before", "start_s": 0.0, "end_s": 100.0},
    {"name": "method", "start_s": 100.0, "end_s": 200.0},
    {"name": "after", "start_s": 200.0, "end_s": 210.0},
]


ANSWERS = {"equivalent": "kept", "different": "broken", "inconclusive": "undecided"}


def run_of(
    tiny: Tiny, slower: float = 1.0, failing: float = 0.0, during: int = 1000, seed: int = 1
) -> Run:
    """1,000 requests before the fault and `during` in it, `slower` times as slow; a share fails there."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(1000):
        at = number / 10
        rows.append(request(number, at, at + rng.lognormvariate(-4, 0.2)))
    for number in range(during):
        at = 100 + number / 10
        failed: dict[str, Any] = {"outcome": "fail"} if rng.random() < failing else {}
        took = slower * rng.lognormvariate(-4, 0.2)
        rows.append(request(2000 + number, at, at + took, **failed))
    return tiny({"phases": PHASES, "started_s": 0.0, "ended_s": 210.0}, requests=rows)


def results(run: Run, **wanted: Any) -> dict[str, str]:
    found = [each.at(0.95) for each in unchanged(wanted, run)]
    assert [ANSWERS[str(each.result)] for each in found] == [each.answer for each in found]
    return {each.name.split()[0]: str(each.result) for each in found}


def test_equal_load_before_and_during_is_unchanged(tiny: Tiny) -> None:
    assert results(run_of(tiny), margin=0.25) == {
        "goodput_per_s": "equivalent",
        "p99_ms": "equivalent",
    }


def test_three_times_slower_changes_only_p99(tiny: Tiny) -> None:
    found = results(run_of(tiny, slower=3.0))
    assert found == {"goodput_per_s": "equivalent", "p99_ms": "different"}


def test_losing_every_second_answer_changes_goodput(tiny: Tiny) -> None:
    assert results(run_of(tiny, failing=0.5))["goodput_per_s"] == "different"


@pytest.mark.parametrize("seed", range(20))
def test_10_percent_less_goodput_is_never_called_unchanged(tiny: Tiny, seed: int) -> None:
    run = run_of(tiny, failing=0.1, seed=seed)
    assert results(run, measures=["goodput_per_s"])["goodput_per_s"] != "equivalent"


def test_losing_every_answer_changes_goodput(tiny: Tiny) -> None:
    assert results(run_of(tiny, failing=1.0))["goodput_per_s"] == "different"


def test_no_good_answer_in_a_few_requests_is_undecided_with_what_would_decide(tiny: Tiny) -> None:
    (goodput,) = unchanged({"measures": ["goodput_per_s"]}, run_of(tiny, failing=1.0, during=1))
    found = goodput.at(0.95)
    assert found.result == "inconclusive"
    assert "during / before is 0 (0 to 0.956)" in found.detail
    assert found.detail.endswith("would decide it")


def test_a_difference_near_the_margin_is_inconclusive(tiny: Tiny) -> None:
    run = run_of(tiny, slower=1.1)
    assert results(run, measures=["p50_ms"]) == {"p50_ms": "inconclusive"}
    assert results(run, measures=["p50_ms"], margin=0.25) == {"p50_ms": "equivalent"}


def test_a_p99_of_too_few_requests_does_not_meet_the_expectation(tiny: Tiny) -> None:
    (limit,) = unchanged({"measures": ["p99_ms"]}, run_of(tiny, during=200))
    p99 = limit.at(0.95)
    assert (p99.answer, p99.result) == ("undecided", "inconclusive")
    assert p99.detail.startswith("inconclusive: the ratio during / before is unknown")
    assert p99.detail.endswith("(no upper bound: 200 values, 299 needed) during")


def test_the_detail_contains_the_ratio_the_margin_and_both_intervals(tiny: Tiny) -> None:
    (goodput,) = unchanged({"measures": ["goodput_per_s"]}, run_of(tiny))
    assert goodput.at(0.95).detail == (
        "equivalent: the ratio of the share of good requests during / before is 1 (0.997 to 1), margin 0.1;"
        " 1 (0.997 to 1) before, 1 (0.997 to 1) during"
    )


def test_an_inconclusive_result_states_how_much_longer_the_windows_must_be(tiny: Tiny) -> None:
    (p50,) = unchanged(
        {"measures": ["p50_ms"], "margin": 0.15}, run_of(tiny, slower=1.1, during=150)
    )
    found = p50.at(0.95)
    assert found.result == "inconclusive"
    assert found.detail.endswith(" times as long would decide it")
    times = float(found.detail.split()[-7])
    longer = run_of(tiny, slower=1.1, during=150 * math.ceil(2 * times), seed=2)
    assert results(longer, measures=["p50_ms"], margin=0.15) == {"p50_ms": "equivalent"}


def test_errors_are_compared_by_the_share_of_requests_without_error(tiny: Tiny) -> None:
    assert results(run_of(tiny), measures=["error_ratio"]) == {"error_ratio": "equivalent"}

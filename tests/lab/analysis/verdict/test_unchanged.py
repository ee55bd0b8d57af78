"""Unchanged means that the intervals before and during the fault overlap; an unknown interval fails."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from lab.analysis.verdict.unchanged import unchanged
from lab.archive import Run
from tests.lab.analysis.request_rows import request

Tiny = Callable[..., Run]

PHASES = [
    {"name": "before", "start_s": 0.0, "end_s": 100.0},
    {"name": "method", "start_s": 100.0, "end_s": 200.0},
    {"name": "after", "start_s": 200.0, "end_s": 210.0},
]


def run_of(tiny: Tiny, slower: float = 1.0, every: int = 1, during: int = 1000) -> Run:
    """1,000 requests before the fault and `during` in it, `slower` times as slow; each `every`th succeeds."""
    rng = random.Random(1)
    rows: list[dict[str, Any]] = []
    for number in range(1000):
        at = number / 10
        rows.append(request(number, at, at + rng.expovariate(100.0)))
    for number in range(during):
        at = 100 + number / 10
        failed: dict[str, Any] = {"outcome": "fail"} if number % every else {}
        took = slower * rng.expovariate(100.0)
        rows.append(request(2000 + number, at, at + took, **failed))
    return tiny({"phases": PHASES, "started_s": 0.0, "ended_s": 210.0}, requests=rows)


def oks(run: Run, **wanted: Any) -> dict[str, bool]:
    return {each["name"].split()[0]: each["ok"] for each in unchanged(wanted, run)}


def test_equal_load_before_and_during_is_unchanged(tiny: Tiny) -> None:
    assert oks(run_of(tiny)) == {"goodput_per_s": True, "p99_ms": True}


def test_three_times_slower_changes_only_p99(tiny: Tiny) -> None:
    assert oks(run_of(tiny, slower=3.0)) == {"goodput_per_s": True, "p99_ms": False}


def test_losing_every_second_answer_changes_goodput(tiny: Tiny) -> None:
    assert not oks(run_of(tiny, every=2))["goodput_per_s"]


def test_a_p99_of_too_few_requests_does_not_meet_the_expectation(tiny: Tiny) -> None:
    (p99,) = unchanged({"measures": ["p99_ms"]}, run_of(tiny, during=200))
    assert not p99["ok"]
    assert "to unknown) ms during" in p99["detail"]


def test_the_detail_contains_both_intervals(tiny: Tiny) -> None:
    (goodput,) = unchanged({"measures": ["goodput_per_s"]}, run_of(tiny))
    assert "before" in goodput["detail"]
    assert "during" in goodput["detail"]

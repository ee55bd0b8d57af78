"""The three answers of a limit, the four verdicts of a run and their order, and what would decide."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.analysis.verdict.answers import EXIT_CODES, Answer
from lab.analysis.verdict.limits import answer_together
from lab.analysis.verdict.slis import SliResult, evaluate
from lab.analysis.verdict.verdict import judge
from lab.archive import Run
from tests.lab.analysis.archives import edit_experiment
from tests.lab.analysis.request_rows import request

Tiny = Callable[..., Run]
Archive = Callable[..., Path]
ORDERS = "POST /api/orders"


def rows(n: int, slow: float = 0.0, failing: float = 0.0, seed: int = 1) -> list[dict[str, Any]]:
    """One request a second of about 100 ms. A share takes a second, and a share fails, by chance."""
    rng = random.Random(seed)
    return [
        request(
            i, float(i), i + (1.0 if rng.random() < slow else rng.uniform(0.09, 0.11)),
            outcome="fail" if rng.random() < failing else "ok",
        )
        for i in range(n)
    ]  # fmt: skip


def answer(tiny: Tiny, requests: list[dict[str, Any]], measure: str, limit: float) -> SliResult:
    return evaluate({"measure": measure, "window": "all", "limit": limit}, tiny(requests=requests))


@pytest.mark.parametrize(
    ("measure", "limit", "expected"),
    [
        ("p95_ms", 150, "kept"),
        ("p95_ms", 50, "broken"),
        ("p95_ms", 100, "broken"),
        ("p50_ms", 100, "undecided"),
        ("error_ratio", 0.01, "kept"),
        ("goodput_per_s", 0.8, "kept"),
        ("goodput_per_s", 1.2, "broken"),
        ("goodput_per_s", 1.05, "undecided"),
    ],
)
def test_an_answer_needs_the_whole_interval_on_one_side_of_the_limit(
    tiny: Tiny, measure: str, limit: float, expected: str
) -> None:
    found = answer(tiny, rows(400), measure, limit)
    assert found.answer == expected
    assert found.low is not None
    assert found.high is not None
    assert (found.low <= limit <= found.high) == (expected == "undecided")


def test_one_error_in_84_requests_decides_nothing_about_1_percent(tiny: Tiny) -> None:
    failing = rows(84)
    failing[40] |= {"outcome": "fail"}
    found = answer(tiny, failing, "error_ratio", 0.01)
    assert found.value is not None
    assert found.value > 0.01
    assert found.answer == "undecided"


def test_without_an_interval_the_share_of_slower_requests_decides(tiny: Tiny) -> None:
    # As when a breaker opens: 25 requests of a second, then fast ones.
    changed = [request(i, float(i), i + (1.0 if i < 25 else 0.02)) for i in range(400)]
    kept = answer(tiny, changed, "p95_ms", 1500)
    assert (kept.answer, kept.low, kept.high) == ("kept", None, None)
    assert kept.note.startswith("0 of 400 requests took longer, which are worth ")
    # 125 requests of which 25 in a row are slow are worth too few independent ones
    assert answer(tiny, changed[:125], "p95_ms", 1500).answer == "undecided"
    assert answer(tiny, changed, "p95_ms", 500).answer == "undecided"  # one group of slow ones
    assert answer(tiny, changed[:58], "p95_ms", 1500).answer == "undecided"
    assert answer(tiny, changed[:58], "p95_ms", 10).answer == "broken"


def test_too_few_requests_to_see_dependence_can_break_a_limit_and_never_keep_it(tiny: Tiny) -> None:
    slow = answer(tiny, rows(20, slow=1.0), "p95_ms", 500)
    assert (slow.answer, slow.low, slow.high) == ("broken", None, None)
    assert slow.note.startswith("20 of 20 requests took longer")
    assert answer(tiny, rows(29), "p50_ms", 500).answer == "undecided"


def test_a_percentile_of_too_few_requests_has_no_value(tiny: Tiny) -> None:
    found = answer(tiny, rows(99), "p99_ms", 5000)
    assert (found.value, found.answer, found.more) == (None, "undecided", 200)
    assert found.note == "no upper bound: 99 values, 299 needed"


def test_without_requests_a_limit_is_undecided(tiny: Tiny) -> None:
    run = tiny(requests=rows(10))
    found = evaluate({"measure": "p95_ms", "route": "GET /y", "window": "all", "limit": 9}, run)
    assert (found.value, found.answer, found.more, found.more_s) == (None, "undecided", 59, None)
    assert found.note == "no data: no requests in this window"


@pytest.mark.parametrize(("measure", "limit"), [("p95_ms", 500), ("error_ratio", 0.1)])
def test_the_stated_number_of_requests_decides(tiny: Tiny, measure: str, limit: float) -> None:
    few = answer(tiny, rows(75, slow=0.03, failing=0.05, seed=4), measure, limit)
    assert few.answer == "undecided"
    assert few.more is not None
    assert few.more_s == pytest.approx(few.more, rel=0.02)  # one request a second
    enough = rows(75 + 2 * few.more, slow=0.03, failing=0.05, seed=2)
    assert answer(tiny, enough, measure, limit).answer == "kept"


@dataclass(frozen=True)
class Stub:
    """A limit that is decided up to some confidence."""

    up_to: float
    answer: Answer = Answer.UNDECIDED
    confidence: float = 0.0

    def at(self, confidence: float) -> Stub:
        decided = Answer.KEPT if confidence <= self.up_to else Answer.UNDECIDED
        return Stub(self.up_to, decided, confidence)


def test_all_limits_of_a_run_share_its_confidence() -> None:
    found = answer_together([Stub(0.999), Stub(0.96), Stub(0.98)])
    assert [each.answer for each in found] == ["kept"] * 3
    assert [each.confidence for each in found] == pytest.approx([1 - 0.05 / 3, 0.95, 0.975])
    found = answer_together([Stub(0.97), Stub(0.97), Stub(0.97)])
    assert [each.answer for each in found] == ["undecided"] * 3


def limited(path: Path, *slis: dict[str, Any], **block: Any) -> dict[str, Any]:
    """The verdict with other SLIs, each of orders."""
    edit_experiment(path, slis=[{"route": ORDERS} | sli for sli in slis], **block)
    return judge(Run(path))


KEPT = {"name": "kept", "measure": "p50_ms", "window": "after", "limit": 5000}
BROKEN = {"name": "broken", "measure": "p50_ms", "window": "after", "limit": 0.001}
OPEN = {"name": "open", "measure": "error_ratio", "window": "after", "limit": 0.0001}
BAD_BEFORE = {"name": "bad before", "measure": "p50_ms", "window": "before", "limit": 0.001}
OPEN_BEFORE = OPEN | {"name": "open before", "window": "before"}


@pytest.mark.parametrize(
    ("slis", "expected"),
    [
        ([KEPT], "held"),
        ([KEPT, OPEN], "undecided"),
        ([KEPT, OPEN_BEFORE], "undecided"),
        ([KEPT, OPEN, BROKEN], "deviated"),
        ([BAD_BEFORE, OPEN, BROKEN], "invalid"),
    ],
)
def test_invalid_comes_before_deviated_before_undecided_before_held(
    archive: Archive, slis: list[dict[str, Any]], expected: str
) -> None:
    verdict = limited(archive(), *slis)
    assert (verdict["verdict"], verdict["exit_code"]) == (expected, EXIT_CODES[expected])
    assert bool(verdict["reasons"]) == (expected != "held")
    assert len(verdict["undecided"]) == sum(each["name"].startswith("open") for each in slis)


def test_the_reason_of_an_undecided_run_contains_what_would_decide_it(archive: Archive) -> None:
    (reason,) = limited(archive(), OPEN)["reasons"]
    assert reason.startswith("open: 0% (0% to 2")
    assert "limit 0.01%; about 30,000 more requests (" in reason
    assert reason.endswith(" s of this load) would decide it")


@pytest.mark.parametrize(
    ("expects", "expected", "detail"),
    [
        ({"edge": "a->b", "opens_within_s": 5}, "broken", "it did not"),
        ({"edge": "a->b", "opens_within_s": 60}, "undecided", "not within the 15.0 s that it"),
        ({"edge": "a->b", "closes_within_s": 60}, "undecided", "not within the 2"),
        ({"edge": "payments->bank", "opens_within_s": 5}, "kept", "after 1."),
        ({"edge": "payments->bank", "closes_within_s": 0.01}, "broken", "after "),
    ],
)
def test_a_breaker_that_was_watched_for_too_short_a_time_is_undecided(
    archive: Archive, expects: dict[str, Any], expected: str, detail: str
) -> None:
    verdict = limited(archive(), KEPT, expects={"breaker": expects})
    (found,) = verdict["expectations"]
    assert found["answer"] == expected
    assert found["detail"].startswith(detail)
    assert verdict["verdict"] == {"kept": "held", "broken": "deviated"}.get(expected, expected)

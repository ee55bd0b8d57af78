"""One verdict over repeated runs of an experiment: what all of them show together, by run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lab.analysis.intervals import (
    CONFIDENCE,
    Interval,
    mean_interval,
    placed,
    pooled_share,
    ratio_interval,
    requests_needed,
)
from lab.analysis.latency import failures
from lab.analysis.verdict.answers import DEVIATED, INVALID, Answer, verdict_of
from lab.analysis.verdict.claim import Claim, claim_of
from lab.analysis.verdict.limits import answer_together
from lab.analysis.verdict.measures import compare, measured
from lab.analysis.verdict.unchanged import ANSWERS, MARGIN, MEASURES, OF_GOOD_REQUESTS
from lab.archive import Run


@dataclass(frozen=True)
class PooledAnswer:
    """A limit over all runs, as a share (`value` of at most `limit`) or as a ratio of at most 1 + margin.

    more_runs: about how many more runs would decide it; None if it is decided, or not known.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    limit: float
    answer: Answer
    confidence: float
    requests: int
    more_runs: int | None
    detail: str

    def text(self) -> str:
        more = (
            "" if self.more_runs is None else f"; about {self.more_runs} more runs would decide it"
        )
        return f"{self.name}: {self.detail}{more}"


def pool(runs: Sequence[Run], verdicts: Sequence[Mapping[str, Any]], looks: int) -> dict[str, Any]:
    """The pooled verdict of the runs, each with its own verdict.json.

    looks: the planned number of looks at the pool, one after each run. Each uses its part of the error,
    1 - confidence = 0.05 / looks (Bonferroni), so looking early does not make a wrong answer likelier.
    An invalid run is not pooled. Anything broken for certain in one run is a deviation of the pool:
    an invariant, the steady state, a probe, a breaker. Limits are decided by all runs together.
    """
    valid = [i for i, each in enumerate(verdicts) if each["verdict"] != INVALID]
    confidence = 1.0 - (1.0 - CONFIDENCE) / looks
    pooled = [runs[i] for i in valid]
    answers = answer_together(_limits(claim_of(pooled[0]), pooled), confidence) if valid else []
    broken = [f"{runs[i].name}: {each}" for i in valid for each in _definite(verdicts[i])]
    broken += [each.text() for each in answers if each.answer == Answer.BROKEN]
    undecided = [each.text() for each in answers if each.answer == Answer.UNDECIDED]
    undecided += [f"{runs[i].name}: {each}" for i in valid for each in _open(verdicts[i])]
    left_out = [
        {"run": run.name, "reasons": verdict["reasons"]}
        for run, verdict in zip(runs, verdicts, strict=True)
        if verdict["verdict"] == INVALID
    ]
    invalid = [] if valid else ["every run was invalid"]
    return verdict_of(invalid, broken, undecided) | {
        "confidence": confidence,
        "looks": looks,
        "claim": verdicts[0].get("claim"),
        "runs": [{"run": runs[i].name, "verdict": verdicts[i]["verdict"]} for i in valid],
        "not_pooled": left_out,
        "limits": [asdict(each) for each in answers],
    }


def _definite(verdict: Mapping[str, Any]) -> list[str]:
    """The reasons of a run that deviated, without those that are intervals."""
    if verdict["verdict"] != DEVIATED:
        return []
    names = [each["name"] for each in verdict["sli"]]
    names += [each["name"] for each in verdict["expectations"] if each["confidence"] is not None]
    return [
        each
        for each in verdict["reasons"]
        if not any(each.startswith(f"{name}: ") for name in names)
    ]


def _open(verdict: Mapping[str, Any]) -> list[str]:
    """What a run could not observe, e.g. a breaker that was watched for too short a time."""
    return [
        f"{each['name']}: {each['detail']}"
        for each in verdict["expectations"]
        if each["confidence"] is None and each["answer"] == Answer.UNDECIDED
    ]


def _limits(claim: Claim, runs: Sequence[Run]) -> list[_PooledSli | _PooledUnchanged]:
    found: list[_PooledSli | _PooledUnchanged] = [_PooledSli(sli, runs) for sli in claim.slis]
    same = claim.expects.get("unchanged")
    if same is not None:
        route, margin = same.get("route") or None, float(same.get("margin", MARGIN))
        found += [
            _PooledUnchanged(measure, route, margin, runs)
            for measure in same.get("measures") or MEASURES
        ]
    return found


class _PooledSli:
    """A limit as the share of requests that are beyond it."""

    def __init__(self, sli: Mapping[str, Any], runs: Sequence[Run]) -> None:
        measure, over = str(sli["measure"]), str(sli.get("window", "during"))
        route, limit = sli.get("route") or None, float(sli["limit"])
        self._name = str(sli.get("name") or f"{measure} of {route or 'all routes'} {over}")
        self._data = [measured(run, measure, route, over) for run in runs]
        found = [each.bad(limit) for each in self._data]
        self._bad = [bad for bad, _ in found]
        self._most = float(np.average([most for _, most in found], weights=self._weights()))
        self._what = f"{measure}, limit {limit:g}"

    def at(self, confidence: float) -> PooledAnswer:
        taus = [each.tau(confidence) for each in self._data]
        found = pooled_share(self._bad, confidence=confidence, taus=taus)
        answer, requests = compare(found, self._most), sum(map(len, self._bad))
        more = None
        if answer == Answer.UNDECIDED and requests:
            needed = requests_needed(found.value, self._most, tau=found.tau, confidence=confidence)
            if needed is not None:
                more = max(1, math.ceil((needed - requests) * len(self._bad) / requests))
        count = sum(int(np.count_nonzero(bad)) for bad in self._bad)
        ends = _ends(found, lambda share: f"{100 * share:.3g}%")
        return PooledAnswer(
            self._name,
            None if math.isnan(found.value) else found.value,
            found.low,
            found.high,
            self._most,
            answer,
            confidence,
            requests,
            more,
            f"{count:,} of {requests:,} requests in {len(self._bad)} runs are beyond the limit {ends},"
            f" at most {100 * self._most:.3g}% may be ({self._what})",
        )

    def _weights(self) -> list[int]:
        return [max(len(bad), 1) for bad in self._bad]


class _PooledUnchanged:
    """Good requests: the ratio during / before of their shares over all runs. Times: its mean over the runs."""

    def __init__(self, measure: str, route: str | None, margin: float, runs: Sequence[Run]) -> None:
        self._name = f"{measure} of {route or 'all requests'} is unchanged"
        self._margin = margin
        self._failures = {
            over: [failures(run, route, over) for run in runs] for over in ("before", "during")
        }
        self._changes: list[float] | None = None
        if measure not in OF_GOOD_REQUESTS:
            values = [
                [
                    measured(run, measure, route, over).interval(CONFIDENCE).value
                    for over in self._failures
                ]
                for run in runs
            ]
            self._changes = [
                math.log(during / before) for before, during in values if before > 0 and during > 0
            ]

    def at(self, confidence: float) -> PooledAnswer:
        ratio = self._ratio(confidence)
        during = self._failures["during"]
        runs = len(during if self._changes is None else self._changes)
        ends = _ends(ratio, lambda value: f"{value:.3g}")
        return PooledAnswer(
            self._name,
            None if math.isnan(ratio.value) else ratio.value,
            ratio.low,
            ratio.high,
            1.0 + self._margin,
            ANSWERS[placed(ratio, self._margin)],
            confidence,
            sum(map(len, during)),
            None,
            f"the ratio during / before in {runs} runs is {ratio.value:.3g} {ends},"
            f" margin {self._margin:g}",
        )

    def _ratio(self, confidence: float) -> Interval:
        if self._changes is not None:
            return _exponential(mean_interval(self._changes, confidence=confidence))
        before, during = (
            pooled_share([each == 0 for each in runs], confidence=confidence)
            for runs in self._failures.values()
        )
        return ratio_interval(before, during)


def _ends(found: Interval, show: Callable[[float], str]) -> str:
    if found.low is None or found.high is None:
        return f"({found.note})"
    return f"({show(found.low)} to {show(found.high)})"


def _exponential(found: Interval) -> Interval:
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return Interval(math.exp(found.value), low, high, found.note)

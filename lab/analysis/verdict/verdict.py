"""Judges a run: the verdict (invalid, deviated, undecided or held) and everything it is based on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.analysis.breakers import transitions
from lab.analysis.consistency import INVARIANTS, Result, check_all
from lab.analysis.fault_evidence.judge import judge_faults
from lab.analysis.intervals import CONFIDENCE
from lab.analysis.verdict import journal, validity
from lab.analysis.verdict.answers import HELD, MEASURED, Answer, verdict_of
from lab.analysis.verdict.claim import Claim, claim_of
from lab.analysis.verdict.expectations import Expectation, breaker_timing
from lab.analysis.verdict.limits import Limit, answer_together
from lab.analysis.verdict.slis import Sli, SliResult
from lab.analysis.verdict.unchanged import unchanged
from lab.archive import ArchiveError, Run
from lab.files import write_json


def judge(run: Run, confidence: float = CONFIDENCE) -> dict[str, Any]:
    """The content of verdict.json (docs/archive.md), computed from the archive alone.

    invalid: the run is not a valid test. deviated: the hypothesis, a limit, an invariant or a breaker
    was certainly not as claimed. undecided: none was, but too few data show that all was as claimed.
    held: all was certainly as claimed, with this `confidence` for all limits together. measured: a valid
    load whose profile has no limits, without a violated invariant. Raises ArchiveError if the
    claim names an unknown invariant.
    """
    claim = claim_of(run)
    unknown = [number for number in claim.not_asked if number not in INVARIANTS]
    if unknown:
        raise ArchiveError(
            f"the experiment names invariant {unknown[0]}: the invariants are {min(INVARIANTS)} to"
            f" {max(INVARIANTS)}"
        )
    faults = judge_faults(run)
    # All invariants are checked and shown. All count for the verdict, except those not asked.
    invariants = check_all(run)
    asked = [each for each in invariants if each.id not in claim.not_asked]
    slis, expectations = _answers(run, claim, confidence)
    conditions = validity.checks(run, claim, slis, faults, asked)
    steady, missed = journal.steady_states(run), journal.missed_probes(run)
    invalid = [f"{each.name}: {each.detail}" for each in conditions if not each.ok]
    claimed = claim.sentence or steady or slis or expectations or missed or _stopped_by_guard(run)
    if not claimed and not run.is_load:
        invalid = invalid or ["the experiment has no claim that can be checked"]
    broken = _stopped_by_guard(run) + _deviations(run, steady, slis, asked, expectations) + missed
    undecided = _undecided(slis, expectations)
    return verdict_of(invalid, broken, undecided, HELD if claimed else MEASURED) | {
        "confidence": confidence,
        "claim": claim.sentence,
        "validity": [each.as_dict() for each in conditions],
        "hypothesis": {"title": claim.hypothesis} | steady,
        "sli": [each.as_dict() for each in slis],
        "invariants": [
            each.as_dict() | {"not_asked": claim.not_asked.get(each.id, "")} for each in invariants
        ],
        "faults": [each.as_dict() for each in faults],
        "breakers": _breakers(run),
        "expectations": [each.as_dict() for each in expectations],
        "guard": run.info.get("guard"),
    }


def write_verdict(run_dir: Path | str) -> dict[str, Any]:
    """Judge a run and write its verdict.json; no other file of the archive changes."""
    run = Run(run_dir)
    verdict = judge(run)
    write_json(run.path / "verdict.json", _plain(verdict))
    return verdict


def _stopped_by_guard(run: Run) -> list[str]:
    """The reason of a guard that stopped the experiment, if one did."""
    guard = run.info.get("guard")
    if not guard:
        return []
    off_s = guard["faults_off_s"] - guard["violated_s"]
    return [
        f"the guard {guard['name']!r} stopped the experiment: {guard['reason']};"
        f" all faults were removed {off_s:.2f} s later"
    ]


def _answers(
    run: Run, claim: Claim, confidence: float
) -> tuple[list[SliResult], list[Expectation]]:
    """The answers to all limits and expectations. Those from intervals share the `confidence`."""
    slis = [Sli(sli, run) for sli in claim.slis]
    same, breaker = claim.expects.get("unchanged"), claim.expects.get("breaker")
    expected = unchanged(same, run) if same is not None else []
    limits: list[Limit[SliResult | Expectation]] = [*slis, *expected]
    found = answer_together(limits, confidence)
    return (
        [each for each in found if isinstance(each, SliResult)],
        [each for each in found if isinstance(each, Expectation)]
        + (breaker_timing(breaker, run) if breaker else []),
    )


def _deviations(
    run: Run,
    steady: dict[str, bool],
    slis: Sequence[SliResult],
    asked: Sequence[Result],
    expectations: Sequence[Expectation],
) -> list[str]:
    found = [
        f"the steady state was not met {when} the fault{journal.unmet(run, when)}"
        for when in ("during", "after")
        if steady.get(when) is False
    ]
    found += [each.text() for each in slis if each.answer == Answer.BROKEN]
    for each in asked:
        if each.status == "violated":
            violations = f"{each.violations} violation{'s' * (each.violations != 1)}"
            found.append(f"invariant {each.id} ({each.name}): {violations}")
    return found + [each.text() for each in expectations if each.answer == Answer.BROKEN]


def _undecided(slis: Sequence[SliResult], expectations: Sequence[Expectation]) -> list[str]:
    answered: list[SliResult | Expectation] = [*slis, *expectations]
    return [each.text() for each in answered if each.answer == Answer.UNDECIDED]


def _breakers(run: Run) -> list[dict[str, Any]]:
    table = transitions.measures(run)
    return [dict(zip(table.columns, row, strict=True)) for row in table.to_numpy(dtype=object)]


def _plain(value: Any) -> Any:
    """The value in JSON types: NaN becomes null, an unknown type becomes text."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)

"""Judges a run: the verdict (invalid, deviated or held) and everything it is based on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.analysis.breakers import transitions
from lab.analysis.consistency import INVARIANTS, Result, check_all
from lab.analysis.fault_evidence.judge import judge_faults
from lab.analysis.verdict import validity
from lab.analysis.verdict.claim import Claim, claim_of
from lab.analysis.verdict.slis import SliResult, evaluate
from lab.analysis.verdict.unchanged import unchanged
from lab.archive import ArchiveError, Run
from lab.files import write_json

HELD, DEVIATED, INVALID = "held", "deviated", "invalid"
EXIT_CODES = {HELD: 0, DEVIATED: 1, INVALID: 3}


def judge(run: Run) -> dict[str, Any]:
    """The content of verdict.json (docs/archive.md), computed from the archive alone.

    invalid: the run is not a valid test. deviated: the run is valid, and the hypothesis, an SLI, an
    invariant or a breaker was not as claimed. held: all was as claimed.
    Raises ArchiveError if the claim names an unknown invariant.
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
    slis = [evaluate(sli, run) for sli in claim.slis]
    expectations = _expectations(run, claim)
    conditions = validity.checks(run, claim, slis, faults, asked)
    steady, missed = validity.steady_states(run), validity.missed_probes(run)
    reasons = [f"{each.name}: {each.detail}" for each in conditions if not each.ok]
    verdict = INVALID
    if not reasons:
        if not (
            claim.sentence or steady or slis or expectations or missed or _stopped_by_guard(run)
        ):
            reasons = ["the experiment has no claim that can be checked"]
        else:
            reasons = _stopped_by_guard(run) + _deviations(steady, slis, asked, expectations)
            reasons += [f"the probe {name!r} failed" for name in missed]
            verdict = DEVIATED if reasons else HELD
    return {
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "reasons": reasons,
        "claim": claim.sentence,
        "validity": [each.as_dict() for each in conditions],
        "hypothesis": {"title": claim.hypothesis} | steady,
        "sli": [each.as_dict() for each in slis],
        "invariants": [
            each.as_dict() | {"not_asked": claim.not_asked.get(each.id, "")} for each in invariants
        ],
        "faults": [each.as_dict() for each in faults],
        "breakers": _breakers(run),
        "expectations": expectations,
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


def _deviations(
    steady: dict[str, bool],
    slis: Sequence[SliResult],
    asked: Sequence[Result],
    expectations: Sequence[dict[str, Any]],
) -> list[str]:
    found = [
        f"the steady state was not met {when} the fault"
        for when in ("during", "after")
        if steady.get(when) is False
    ]
    found += [sli.text() for sli in slis if not sli.ok]
    for each in asked:
        if each.status == "violated":
            violations = f"{each.violations} violation{'s' * (each.violations != 1)}"
            found.append(f"invariant {each.id} ({each.name}): {violations}")
    found += [f"{each['name']}: {each['detail']}" for each in expectations if not each["ok"]]
    return found


def _expectations(run: Run, claim: Claim) -> list[dict[str, Any]]:
    """The experiment's expectations of measures and of a breaker, with their results."""
    same = claim.expects.get("unchanged")
    found = unchanged(same, run) if same is not None else []
    wanted = claim.expects.get("breaker")
    if not wanted:
        return found
    edge = str(wanted.get("edge"))
    own = transitions.measures(run)
    own = own[own["edge"] == edge]
    for key, column, what in (
        ("opens_within_s", "detection_s", "opens"),
        ("closes_within_s", "recovery_s", "closes again"),
    ):
        if key not in wanted:
            continue
        limit = float(wanted[key])
        seconds = own[column].dropna()
        value = float(seconds.min() if what == "opens" else seconds.max()) if len(seconds) else None
        found.append(
            {
                "name": f"the breaker {edge} {what} within {limit:g} s",
                "edge": edge,
                "value": value,
                "limit": limit,
                "ok": value is not None and value <= limit,
                "detail": f"after {value:.2f} s" if value is not None else "it did not",
            }
        )
    return found


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

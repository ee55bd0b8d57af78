"""Checks whether a run is valid: the conditions under which its result is about the shop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lab.analysis.consistency import Result
from lab.analysis.fault_evidence.actions import action_effects
from lab.analysis.fault_evidence.judged import CONFIRMED, DEATHS, MISMATCH, Judged
from lab.analysis.latency import send_lag
from lab.analysis.verdict import machine
from lab.analysis.verdict.answers import Answer
from lab.analysis.verdict.claim import Claim
from lab.analysis.verdict.evidence import gaps
from lab.analysis.verdict.journal import failed_actions, steady_states, unmet
from lab.analysis.verdict.slis import SliResult
from lab.archive import Run

DROPPED_SHARE_MAX = 0.01
GAPS_SHOWN = 20
ON_TIME = "requests were sent when they were due"
SEND_LAG_P99_MS_MAX = 100.0  # with a larger lag the load was not the planned one


@dataclass(frozen=True)
class Check:
    """One condition of validity, with its measured values in `detail`."""

    name: str
    ok: bool
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def checks(
    run: Run,
    claim: Claim,
    slis: Sequence[SliResult],
    faults: Sequence[Judged],
    invariants: Sequence[Result],
) -> list[Check]:
    """All conditions, in the order of the report. Of a load, those that are not about an experiment."""
    of_load = [] if run.is_closed_loop else [_load_delivered(run), _load_on_time(run)]
    measuring = [*of_load, Check(*machine.check(run))]
    audit = [_quiet(run, invariants), _audited(run, invariants), _recorded(run)]
    if run.is_load:
        return [_complete(run, claim), *measuring, *audit]
    return [
        *(_complete(run, claim), _finished(run), _steady_before(run, slis), *measuring),
        *(_fault_effective(run, claim, faults), Check(*action_effects(run))),
        *(_nothing_left_behind(run, faults), *audit),
    ]


def _complete(run: Run, claim: Claim) -> Check:
    found = gaps(run, claim)
    more = f"; and {len(found) - GAPS_SHOWN} more" if len(found) > GAPS_SHOWN else ""
    return Check("the evidence is complete", not found, "; ".join(found[:GAPS_SHOWN]) + more)


def _finished(run: Run) -> Check:
    name = "the experiment finished"
    if run.info.get("interrupted"):
        return Check(name, False, "it was interrupted")
    journal = run.journal or {}
    if run.info.get("guard"):
        return Check(name, True, "its guard stopped it")
    status = str(journal.get("status", "unknown"))
    if failed := failed_actions(run):
        return Check(name, False, failed[0])
    # Chaos Toolkit also reports `failed` if the hypothesis was not met: that is a valid result.
    return Check(name, status in ("completed", "failed"), f"Chaos Toolkit's status is {status}")


def _steady_before(run: Run, slis: Sequence[SliResult]) -> Check:
    """A shop that certainly missed its limits before the fault shows nothing about the fault."""
    name = "the shop was steady before the fault"
    if steady_states(run).get("before") is False:
        missed_by = unmet(run, "before")
        return Check(
            name, False, f"the steady state was not met before the method began{missed_by}"
        )
    missed = [sli.text() for sli in slis if sli.window == "before" and sli.answer == Answer.BROKEN]
    if missed:
        return Check(name, False, "; ".join(missed) + " (other programs may use the machine)")
    return Check(name, True, "")


def _load_delivered(run: Run) -> Check:
    name = "the planned load was delivered"
    load = run.info.get("load", {})
    rows, dropped_rows = run.sql(
        "SELECT count(*), count(*) FILTER (dropped) FROM requests"
    ).fetchall()[0]
    if not rows:
        return Check(name, False, "no request was recorded")
    planned = int(load.get("planned") or rows)
    dropped = max(int(load.get("dropped") or 0), dropped_rows)
    sent = int(load.get("sent") or rows - dropped_rows)
    share = (planned - sent) / planned if planned else 1.0
    ok = sent > 0 and max(share, dropped / max(planned, 1)) <= DROPPED_SHARE_MAX
    return Check(name, ok, f"{sent:,} of {planned:,} arrivals sent, {dropped:,} dropped")


def _load_on_time(run: Run) -> Check:
    lag = send_lag(run)
    if not lag:
        return Check(ON_TIME, False, "no request was sent")
    detail = f"p99 {lag['p99']:.1f} ms late, at most {lag['max']:.0f} ms"
    return Check(
        ON_TIME,
        lag["p99"] <= SEND_LAG_P99_MS_MAX,
        f"{detail} (limit for p99: {SEND_LAG_P99_MS_MAX:.0f} ms)",
    )


def _fault_effective(run: Run, claim: Claim, faults: Sequence[Judged]) -> Check:
    name = "the fault took effect"
    if not faults:
        planned = bool(claim.actions)
        return Check(name, not planned, "none was recorded" if planned else "none was planned")
    not_confirmed = [f"{f}: {f.status}, {f.why}" for f in faults if f.status != CONFIRMED]
    cut_short = run.info.get("guard") and all(f.status != MISMATCH for f in faults)
    if cut_short and any(f.status == CONFIRMED for f in faults):
        # A fault that the guard removed early may not have affected a call.
        return Check(
            name,
            True,
            f"its guard stopped it early; {'; '.join(not_confirmed) or 'all took effect'}",
        )
    if not_confirmed:
        return Check(name, False, "; ".join(not_confirmed))
    return Check(name, True, "; ".join(f"{f}: {f.why}" for f in faults))


def _nothing_left_behind(run: Run, faults: Sequence[Judged]) -> Check:
    name = "nothing was left behind"
    deaths = [f for f in faults if f.fault.kind in DEATHS]
    left = [str(f) for f in faults if f.fault.removed_s is None and f not in deaths]
    left += [str(each) for each in run.info.get("residue", [])]
    gone = [
        f"{f.fault.target} did not come back"
        for f in deaths
        if f.evidence.get("down_s") is not None and f.evidence.get("back_s") is None
    ]
    if left or gone:
        return Check(name, False, "; ".join([*(f"{each} was not removed" for each in left), *gone]))
    return Check(name, True, "every fault was removed" if faults else "there was no fault")


def _quiet(run: Run, invariants: Sequence[Result]) -> Check:
    name = "quiescence was reached before the audit"
    quiescence = run.info.get("quiescence") or {}
    reached = quiescence.get("reached")
    waited = f"after {float(quiescence.get('waited_s') or 0.0):.1f} s"
    if reached is None:
        return Check(name, False, "it was not checked")
    if not reached and any(each.status == "violated" for each in invariants):
        # A saga that hangs prevents quiescence: that is a result about the shop, not an invalid run.
        return Check(name, True, f"not reached {waited}: the violated invariants explain it")
    return Check(name, bool(reached), f"{'' if reached else 'not '}reached {waited}")


def _audited(run: Run, invariants: Sequence[Result]) -> Check:
    name = "the services' databases were audited"
    unknown = [
        f"no data for invariant {each.id}: {each.detail}"
        for each in invariants
        if each.status == "no_data"
    ]
    return Check(name, not unknown, "; ".join(unknown) or f"{len(run.states)} tables")


def _recorded(run: Run) -> Check:
    name = "the recording is complete"
    counts = run.recorder
    if counts is None:
        return Check(name, False, "the recorder did not finish: recorder.json is missing")
    shed = {table: rows for table, rows in counts.get("shed", {}).items() if rows}
    if shed or counts.get("error"):
        lost = ", ".join(f"{rows} rows of {table}" for table, rows in shed.items())
        return Check(name, False, f"shed {lost or 'nothing'}; {counts.get('error') or 'overload'}")
    total = sum(counts.get("rows", {}).values())
    return Check(name, True, f"{total:,} rows, none shed")

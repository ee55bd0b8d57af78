"""Evidence for a fault of a whole process: what its supervisor saw, and the spans and scrapes of the process."""

from __future__ import annotations

from typing import Any

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence.judged import CONFIRMED, DEATHS, INCONCLUSIVE, MISMATCH, Judged
from lab.analysis.fault_evidence.measures import calls_at
from lab.analysis.fault_evidence.services import judge_death
from lab.archive import Run
from lab.fault_kinds.processes import KINDS

PAUSE_MARGIN_S = 0.2  # a span's clock may be a little off, and a span may start in the last moment
USED_SHARE_MIN = 0.9  # of a memory limit: a process below it cannot have felt it


def judge(run: Run, fault: FaultRecord) -> Judged:
    seen = fault.evidence
    if "pid" not in seen:
        if fault.kind in DEATHS:
            return judge_death(run, fault)
        return Judged(fault, INCONCLUSIVE, "the supervisor's evidence is missing", seen)
    evidence: dict[str, Any] = calls_at(run, fault).as_dict() | seen
    if fault.kind in DEATHS:
        status, why = _decide_death(fault)
        # the supervisor saw it at once; scrapes see it only each second
        down_s = (fault.effective_s or 0.0) - (fault.commanded_s or 0.0)
        evidence |= {"down_s": down_s, "back_s": seen.get("back_s")}
    elif fault.kind == "pause":
        status, why = _decide_pause(fault, _spans_started(run, fault))
    else:
        status, why = _decide_held(fault.kind, seen)
    return Judged(fault, status, why, evidence)


def _decide_death(fault: FaultRecord) -> tuple[str, str]:
    seen = fault.evidence
    if fault.effective_s is None:
        return MISMATCH, f"{_signal(fault)} was sent and had no effect"
    if seen.get("exit") is None:
        return INCONCLUSIVE, f"{_signal(fault)} was sent, but the end of the process was not seen"
    back_s = seen.get("back_s")
    again = f"ready again after {back_s:.1f} s" if back_s is not None else "never seen ready again"
    return CONFIRMED, f"pid {seen['pid']} ended with {seen['exit']}, {again}"


def _decide_pause(fault: FaultRecord, spans: int | None) -> tuple[str, str]:
    if fault.effective_s is None:
        return MISMATCH, f"{_signal(fault)} was sent and had no effect"
    if spans:
        return MISMATCH, f"{spans} spans started in it while it was stopped by the record"
    if fault.evidence.get("stopped_until_the_end") is False:
        return MISMATCH, "it was running again before the end"
    lasted_s = (fault.removed_s or 0.0) - fault.effective_s
    return (
        CONFIRMED,
        f"pid {fault.evidence['pid']} and its children were stopped for {lasted_s:.1f} s",
    )


def _decide_held(kind: str, seen: dict[str, Any]) -> tuple[str, str]:
    """What the container engine applied."""
    if left := seen.get("left"):
        return MISMATCH, f"the engine did not remove it: {left}"
    if kind == "disconnect":
        if not seen.get("off"):
            return MISMATCH, "the engine still had it on a network"
        if not seen.get("off_until_the_end", True):
            return MISMATCH, "it was on a network again before the end"
        return CONFIRMED, "off " + ", ".join(seen["networks"])
    if kind == "cpu_limit":
        periods = seen.get("throttled_periods", 0)
        status = CONFIRMED if periods > 0 else INCONCLUSIVE
        return status, f"the kernel throttled it in {periods} periods"
    kills, share = seen.get("oom_kills", 0), seen.get("used_share", 0.0)
    status = CONFIRMED if kills or share > USED_SHARE_MIN else INCONCLUSIVE
    return (
        status,
        f"it used {share:.0%} of the limit at the end; the kernel killed it {kills} times",
    )


def _signal(fault: FaultRecord) -> str:
    number = KINDS[fault.kind].signal
    return number.name if number else fault.kind


def _spans_started(run: Run, fault: FaultRecord) -> int | None:
    """Spans that the instance started while it was stopped; None for a process without spans."""
    if fault.effective_s is None or fault.removed_s is None:
        return None
    start_s, end_s = fault.effective_s + PAUSE_MARGIN_S, fault.removed_s - PAUSE_MARGIN_S
    count, known = run.sql(
        "SELECT count(*) FILTER (start_ns BETWEEN ? AND ?), count(*) FROM spans WHERE instance = ?",
        [int(start_s * 1e9), int(end_s * 1e9), fault.target],
    ).fetchall()[0]
    return int(count) if known else None

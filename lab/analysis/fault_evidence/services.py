"""Evidence for a fault inside a service: the calls at its target, before and during it."""

from __future__ import annotations

from typing import Any

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence.judged import CONFIRMED, DEATHS, INCONCLUSIVE, MISMATCH, Judged
from lab.analysis.fault_evidence.measures import Calls, absence, calls_at
from lab.archive import Run

# At these points a delay is a part of a call; at the others it is outside of all calls, and only hits show it.
WITHIN = frozenset({"database", "cache"})
OUTSIDE = frozenset({"publish", "consume", "registry", "failpoint", "start", "process"})
SILENCE_S = 0.5


def judge(run: Run, fault: FaultRecord) -> Judged:
    if fault.kind in DEATHS:
        return judge_death(run, fault)
    calls = calls_at(run, fault)
    evidence: dict[str, Any] = calls.as_dict()
    delay_s = _delay_s(fault)
    if delay_s is not None:
        evidence["slow_during"], evidence["slow_before"] = calls.slow(delay_s)
    status, why = _decide(fault, calls, delay_s)
    return Judged(fault, status, why, evidence)


def judge_death(run: Run, fault: FaultRecord) -> Judged:
    """By what others saw of the process: its scrapes, and the gap in its spans."""
    calls, absent = calls_at(run, fault), absence(run, fault)
    status, why = _decide_death(calls, absent)
    return Judged(fault, status, why, calls.as_dict() | absent)


def _decide(fault: FaultRecord, calls: Calls, delay_s: float | None) -> tuple[str, str]:
    if not fault.hits:
        if not calls.during:
            return INCONCLUSIVE, "no call reached the target while it was active"
        if fault.effective_s is None:
            return MISMATCH, f"{len(calls.during)} calls passed and none was hit"
    if delay_s is not None and fault.point in WITHIN:
        return _decide_delay_within(fault.hits, delay_s, calls)
    if delay_s is not None:
        slow, slow_before = calls.slow(delay_s)
        if slow == 0:
            return INCONCLUSIVE, f"{fault.hits} hits, but no span of {delay_s:g} s is recorded"
        if slow <= slow_before and slow_before > 0:
            return INCONCLUSIVE, "there were as many such slow calls before it"
        return CONFIRMED, f"{fault.hits or slow} hits; {slow} spans lasted {delay_s:g} s or more"
    if calls.errors_during > calls.errors_before:
        return CONFIRMED, (
            f"{fault.hits} hits; {calls.errors_during} failed calls,"
            f" {calls.errors_before} in as long a time before"
        )
    if fault.hits:
        return CONFIRMED, f"{fault.hits} hits counted by the injector"
    return INCONCLUSIVE, "neither its hits nor the spans show an effect"


def _decide_delay_within(hits: int, delay_s: float, calls: Calls) -> tuple[str, str]:
    """Compares medians: single calls as long as the delay occurred before it too."""
    during, before = calls.medians_ms()
    if during is None or before is None:
        return INCONCLUSIVE, f"{hits} hits, but no call is recorded during it or before"
    if during - before < 1000 * delay_s:
        return (
            INCONCLUSIVE,
            f"{hits} hits, but the median call took {during - before:.0f} ms longer",
        )
    return CONFIRMED, f"{hits} hits; the median call took {during - before:.0f} ms longer"


def _decide_death(calls: Calls, absent: dict[str, float | None]) -> tuple[str, str]:
    down_s, back_s, silent_s = absent["down_s"], absent["back_s"], absent["silent_s"]
    if down_s is not None:
        back = "never back" if back_s is None else f"back after {back_s:.1f} s"
        return CONFIRMED, f"its metrics were gone after {down_s:.1f} s, {back}"
    if silent_s is not None and silent_s >= SILENCE_S:
        return CONFIRMED, f"no span started there for {silent_s:.1f} s"
    if not calls.before:
        return INCONCLUSIVE, "no call reached the instance before it either"
    return MISMATCH, "the instance continued to answer"


def _delay_s(fault: FaultRecord) -> float | None:
    """The least delay that the fault promises to calls; None for faults that delay none."""
    if fault.point in OUTSIDE:
        return None
    for name in ("latency_ms", "delay_ms"):
        if name in fault.attributes:
            jitter_ms = float(fault.attributes.get("jitter_ms", 0.0))
            return max(0.0, float(fault.attributes[name]) - jitter_ms) / 1000
    return None

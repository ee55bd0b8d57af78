"""Evidence for a fault of an edge: the fault proxy's counters, and the spans of the caller's calls."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence.judged import CONFIRMED, INCONCLUSIVE, MISMATCH, Judged
from lab.analysis.fault_evidence.measures import calls_at
from lab.archive import Run
from lab.fault_kinds.edges import KINDS
from lab.topology import STORES

CALLS_MIN = 5  # fewer calls over the edge do not contradict the proxy's counters


@dataclass(frozen=True)
class Crossed:
    """The caller's calls over the edge within the fault's time: their durations in seconds, the failed ones."""

    seconds: tuple[float, ...]
    failed: int


def judge(run: Run, fault: FaultRecord) -> Judged:
    status, why = _decide(fault, _crossed(run, fault))
    return Judged(fault, status, why, calls_at(run, fault).as_dict() | fault.evidence)


def _crossed(run: Run, fault: FaultRecord) -> Crossed | None:
    """None for a fault that is not over, and for calls without spans: to servers, and from the ingress."""
    caller, _, callee = fault.target.partition("->")
    if caller == "ingress" or callee in (*STORES, "smtp"):
        return None
    if fault.effective_s is None or fault.removed_s is None:
        return None
    found = run.sql(
        """
        SELECT (end_ns - start_ns) / 1e9, status = 'error' OR coalesce(http_status, 0) >= 500
        FROM spans
        WHERE kind = 'client' AND service = ? AND start_ns >= ? AND end_ns <= ?
            AND json_extract_string(attributes, '$."breakwater.peer.instance"') = ?
        """,
        [caller, int(fault.effective_s * 1e9), int(fault.removed_s * 1e9), callee],
    ).fetchall()
    return Crossed(tuple(seconds for seconds, _ in found), sum(bool(bad) for _, bad in found))


def _decide(fault: FaultRecord, during: Crossed | None) -> tuple[str, str]:
    """The proxy's counters count unless the calls contradict them."""
    calls = len(during.seconds) if during else 0
    every_connection = float(fault.scope.get("share", 1.0)) == 1
    if fault.effective_s is None:
        return MISMATCH, "the proxy accepted it and it never took effect"
    if fault.kind == "noop":
        connections = fault.evidence.get("connections", 0)
        return CONFIRMED, f"it was on {connections} connections, and did nothing"
    if not fault.hits:
        if fault.kind == "down" and during and during.failed:
            return CONFIRMED, f"{during.failed} of {calls} calls over the edge failed"
        if calls >= CALLS_MIN and every_connection:
            return MISMATCH, f"{calls} calls went over the edge and it hit none of them"
        return INCONCLUSIVE, "nothing passed the edge that it could have hit"
    least_s = _least_s(fault)
    too_fast = during and all(seconds < least_s for seconds in during.seconds)
    if too_fast and calls >= CALLS_MIN and every_connection:
        return MISMATCH, f"all {calls} calls over the edge were faster than {least_s:g} s"
    counted = (
        f"{fault.hits} hits and {fault.evidence.get('bytes') or 0:,} bytes counted by the proxy"
    )
    if during is None:
        return CONFIRMED, counted
    return CONFIRMED, f"{counted}; {during.failed} of {calls} calls over the edge failed"


def _least_s(fault: FaultRecord) -> float:
    """The least delay that is promised; 0 for kinds that do not delay, and for unbounded distributions."""
    distribution = fault.attributes.get("distribution")
    if fault.kind != "latency" or distribution == "normal":
        return 0.0
    jitter_ms = 0.0 if distribution == "pareto" else _attribute(fault, "jitter_ms")
    return max(0.0, _attribute(fault, "latency_ms") - jitter_ms) / 1000


def _attribute(fault: FaultRecord, name: str) -> float:
    """Also under the toxic's name: the proxy's log lines have that one."""
    theirs = KINDS[fault.kind].attributes[name]
    return float(fault.attributes.get(name, fault.attributes.get(theirs, 0.0)))

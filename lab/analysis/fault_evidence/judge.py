"""Decides whether each fault did what was commanded: confirmed, mismatch or inconclusive, with the evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence import edges, processes, services
from lab.analysis.fault_evidence.judged import DEATHS, INCONCLUSIVE, MISMATCH, Judged
from lab.archive import Run
from lab.fault_kinds.processes import KINDS

REMOVAL_GRACE_S = 1.0  # the injector's promise: a fault is removed at most so long after its TTL


def judge_faults(run: Run) -> list[Judged]:
    """Every fault of the run, in order of command.

    confirmed     it had hits, and spans, scrapes or counters show the effect of its kind
    mismatch      it did not do what was commanded, or it lasted longer than its TTL
    inconclusive  it had nothing to hit, or the archive has no evidence
    """
    columns = run.faults.columns
    ordered = run.faults.order("commanded_s, fault_id").fetchall()
    rows = (dict(zip(columns, row, strict=True)) for row in ordered)
    return [judge_fault(run, FaultRecord.from_row(row)) for row in rows]


def judge_fault(run: Run, fault: FaultRecord) -> Judged:
    judged = _mechanism(fault)(run, fault)
    if fault.commanded_s is None and fault.effective_s is None:
        return replace(
            judged, status=INCONCLUSIVE, why="neither its command nor its effect was recorded"
        )
    if fault.ttl_s is not None and fault.lasted_s > fault.ttl_s + REMOVAL_GRACE_S:
        late_s = fault.lasted_s - fault.ttl_s
        why = f"it outlived its TTL of {fault.ttl_s:g} s by {late_s:.1f} s"
        return replace(judged, status=MISMATCH, why=why)
    return judged


def _mechanism(fault: FaultRecord) -> Callable[[Run, FaultRecord], Judged]:
    """A service has faults at the point `process` too, of other kinds than the supervisor's."""
    if fault.point == "edge":
        return edges.judge
    if fault.kind in KINDS or fault.kind in DEATHS:
        return processes.judge
    return services.judge

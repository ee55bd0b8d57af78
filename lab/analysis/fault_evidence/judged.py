"""The judgement of one fault: its status, the reason and the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chassis.fault_record import FaultRecord

CONFIRMED, MISMATCH, INCONCLUSIVE = "confirmed", "mismatch", "inconclusive"
# Each ends a process at once: nothing remains to be removed, but the process must come back.
DEATHS = frozenset({"crash", "crash_loop", "kill", "terminate", "outage"})
SHOWN = ("fault_id", "kind", "target", "commanded_s", "effective_s", "removed_s", "hits")


@dataclass(frozen=True)
class Judged:
    """`why` is a sentence; `evidence` has the figures behind it."""

    fault: FaultRecord
    status: str
    why: str
    evidence: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The form in verdict.json (docs/archive.md)."""
        shown = {name: getattr(self.fault, name) for name in SHOWN}
        return {**shown, "status": self.status, "why": self.why, "evidence": self.evidence}

    def __str__(self) -> str:
        return f"{self.fault.kind} on {self.fault.target}"

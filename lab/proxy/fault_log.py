"""Writes each fault as a log line, one JSON object each; the lab's recorder makes rows of them."""

import json
import time
from collections.abc import Callable

from chassis.fault_record import FaultRecord

FaultListener = Callable[[str, FaultRecord], None]


def ignore_fault(phase: str, fault: FaultRecord) -> None:
    """Writes nothing."""


def log_fault(phase: str, fault: FaultRecord) -> None:
    """`phase` is effective or removed."""
    by = f" by {fault.evidence['removed_by']}" if fault.evidence["removed_by"] else ""
    line = {
        "time": time.time(),
        "level": "info",
        "service": "proxy",
        "instance": "proxy",
        "message": f"{fault.kind} on {fault.target} {phase}{by}",
        "event": "fault",
        "phase": phase,
        **fault.to_row(),
    }
    print(json.dumps(line), flush=True)

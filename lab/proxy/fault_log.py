"""Faults told as log lines, one JSON object each, in the form that the lab's recorder makes rows of."""

import json
import time
from collections.abc import Callable
from typing import Any

from lab.proxy.toxic_record import Record

FaultListener = Callable[[str, str, Record, dict[str, Any]], None]


def ignore_fault(phase: str, proxy: str, record: Record, about: dict[str, Any]) -> None:
    """Nobody listens."""


def log_fault(phase: str, proxy: str, record: Record, about: dict[str, Any]) -> None:
    """`phase` is effective or removed; `about` the fault's attributes, scope, seed and ttl_s."""
    by = f" by {record.removed_by}" if record.removed_by else ""
    line = {
        "time": time.time(),
        "level": "info",
        "service": "proxy",
        "instance": "proxy",
        "message": f"{record.kind} on {proxy} {phase}{by}",
        "event": "fault",
        "phase": phase,
        "target": proxy,
        "point": "edge",
        "fault_id": record.fault_id,
        "kind": record.kind,
        "hits": record.hits,
        "commanded_s": record.commanded_at,
        "effective_s": record.effective_at,
        "removed_s": record.removed_at,
        **about,
    }
    print(json.dumps(line), flush=True)

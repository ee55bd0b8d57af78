"""The faults of a run: gathers their rows for the archive, and checks that none is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from chassis.fault_record import FaultRecord
from lab.chaos.faults.audit import UNPROVEN, audit
from lab.chaos.faults.client import FaultClient
from lab.load.row_file import RowFile

PROVEN_S = 5.0


def fault_rows(client: FaultClient, journal: Path, since_s: float) -> list[FaultRecord]:
    """The faults commanded since then, from the injectors' histories and from the journal's actions.

    An action may add evidence to its fault, and its record remains when the injector's history is lost.
    """
    rows = {record.fault_id: record for record in _journalled(journal)}
    for record in client.history():
        if (record.commanded_s or 0.0) >= since_s:
            noted = rows[record.fault_id].evidence if record.fault_id in rows else {}
            rows[record.fault_id] = replace(record, evidence={**noted, **record.evidence})
    return list(rows.values())


def write_fault_rows(run_dir: Path, rows: Iterable[FaultRecord]) -> None:
    """Appends to the recorder's lines of the same faults; a reader merges lines with one fault id."""
    file = RowFile(run_dir / "faults.ndjson")
    try:
        for row in rows:
            file.append(row.to_row())
    finally:
        file.close()


def left_behind(look: Callable[[], FaultClient]) -> list[str]:
    """The findings of a whole audit, as "what on which": faults, limits, children, stopped processes, ...

    `look` returns a client of the lab as it is now. An instance that is starting has PROVEN_S to answer.
    """
    give_up = time.monotonic() + PROVEN_S
    while True:
        audited = audit(look())
        silent = any(left.startswith(UNPROVEN) for each in audited for left in each.left)
        if not silent or time.monotonic() > give_up:
            return [f"{left} on {each.name}" for each in audited for left in each.left]
        time.sleep(0.2)


def _journalled(journal: Path) -> list[FaultRecord]:
    """The fault rows that actions returned: one (kill_instance) or several."""
    try:
        run = json.loads(journal.read_bytes()).get("run", [])
    except (FileNotFoundError, ValueError):
        return []
    outputs = [activity.get("output") for activity in run]
    lists = [output if isinstance(output, list) else [output] for output in outputs]
    rows = [row for rows in lists for row in rows if isinstance(row, dict) and "fault_id" in row]
    return [FaultRecord.from_row(row) for row in rows]

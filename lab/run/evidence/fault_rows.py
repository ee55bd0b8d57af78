"""The faults of a run: their rows for the archive, and the proof that none was left behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.chaos.faults.audit import UNPROVEN, audit
from lab.chaos.faults.client import FaultClient
from lab.load.row_file import RowFile

PROVEN_S = 5.0
COLUMNS = (
    *("kind", "point", "scope", "attributes", "seed", "ttl_s"),
    *("commanded_s", "effective_s", "removed_s", "hits"),
)


def fault_rows(control: FaultClient, journal: Path, since_s: float) -> list[dict[str, Any]]:
    """Rows of docs/archive.md: from the instances' own history, kills from the journal."""
    rows = [
        {
            "fault_id": placed.view["id"],
            "target": placed.instance.name,
            **{name: placed.view[name] for name in COLUMNS},
            **{name: placed.view[name] for name in ("evidence",) if name in placed.view},
        }
        for placed in control.history()
        if placed.view["commanded_s"] >= since_s
    ]
    rows += [row for row in _journalled(journal) if "fault_id" in row]
    return [row | _judged(row) for row in rows]


def write_fault_rows(run_dir: Path, rows: list[dict[str, Any]]) -> None:
    """Beside the recorder's own lines of the same faults; equal ids make one row when read."""
    file = RowFile(run_dir / "faults.ndjson")
    try:
        for row in rows:
            file.append(row)
    finally:
        file.close()


def left_behind(look: Callable[[], FaultClient]) -> list[str]:
    """What the whole audit finds, as "what on whom": faults, limits, children, stopped processes, ...

    `look` gives the lab as it is now: an instance that is starting again has PROVEN_S to be heard.
    """
    give_up = time.monotonic() + PROVEN_S
    while True:
        audited = audit(look())
        silent = any(left.startswith(UNPROVEN) for each in audited for left in each.left)
        if not silent or time.monotonic() > give_up:
            return [f"{left} on {each.name}" for each in audited for left in each.left]
        time.sleep(0.2)


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    """confirmed: it hit something. inconclusive: nothing came by, so nothing can be said."""
    hits = row.get("hits") or 0
    status = "confirmed" if hits and row.get("effective_s") else "inconclusive"
    evidence = row.get("evidence") or {"counted_by": row["target"], "hits": hits}
    return {"status": status, "evidence": evidence}


def _journalled(journal: Path) -> list[dict[str, Any]]:
    """What actions of the method answered that are faults themselves: one (kill_instance) or several."""
    try:
        run = json.loads(journal.read_bytes()).get("run", [])
    except (FileNotFoundError, ValueError):
        return []
    outputs = [activity.get("output") for activity in run]
    several = [output if isinstance(output, list) else [output] for output in outputs]
    return [row for rows in several for row in rows if isinstance(row, dict)]

"""What `lab resilience set` has set, in one file of the lab: instances that start read it, so it outlives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.files import write_atomic

ALL = "*"  # all edges, those that no instance has made yet too
Rows = dict[str, dict[str, Any]]


def overrides_file(home: Path) -> Path:
    """The instances are told it as LAB_RESILIENCE; a lab that begins has none."""
    return home / "run" / "kept" / "resilience.json"  # a folder that containers can be given


def read(home: Path) -> Rows:
    """`{edge: {"profile"?: step, "switches"?: {kind: bool}}}`; empty where nothing was set."""
    try:
        rows: Rows = json.loads(overrides_file(home).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return rows


def save(home: Path, edge: str | None, profile: str | None, switches: Mapping[str, bool]) -> None:
    """Add it to what was set before, for one edge or (None) for all of them."""
    rows = read(home)
    rows.setdefault(ALL, {})
    if edge is not None:
        # from here on the edge has a row of its own, with what was set for all until now
        rows.setdefault(edge, dict(rows[ALL]))
    for name in rows if edge is None else (edge,):
        rows[name] = _changed(rows[name], profile, switches)
    overrides_file(home).parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({name: row for name, row in rows.items() if row})
    write_atomic(overrides_file(home), text)  # instances may be another user's


def override_of(rows: Rows, edge: str) -> dict[str, Any]:
    """What was set for this edge; empty if nothing was."""
    return rows.get(edge, rows.get(ALL, {}))


def _changed(
    row: Mapping[str, Any], profile: str | None, switches: Mapping[str, bool]
) -> dict[str, Any]:
    changed = dict(row)
    if profile is not None:
        changed["profile"] = profile
    if switches:
        changed["switches"] = {**row.get("switches", {}), **switches}
    return changed

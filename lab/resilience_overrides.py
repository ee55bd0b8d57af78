"""The overrides of `lab resilience set`, in one file of the lab; instances read it when they start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.files import write_atomic

ALL = "*"  # all edges, also those that no instance has created yet
Rows = dict[str, dict[str, Any]]


def overrides_file(home: Path) -> Path:
    """The file, which instances get as LAB_RESILIENCE. A lab starts without it."""
    return home / "run" / "kept" / "resilience.json"  # a folder that containers can mount


def read(home: Path) -> Rows:
    """`{edge: {"profile"?: step, "switches"?: {kind: bool}}}`; empty without overrides."""
    try:
        rows: Rows = json.loads(overrides_file(home).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return rows


def save(home: Path, edge: str | None, profile: str | None, switches: Mapping[str, bool]) -> None:
    """Add an override for one edge, or for all edges (None), to the saved ones."""
    rows = read(home)
    rows.setdefault(ALL, {})
    if edge is not None:
        # the edge gets its own row, which starts with the overrides for all edges
        rows.setdefault(edge, dict(rows[ALL]))
    for name in rows if edge is None else (edge,):
        rows[name] = _changed(rows[name], profile, switches)
    overrides_file(home).parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({name: row for name, row in rows.items() if row})
    write_atomic(overrides_file(home), text)  # instances may run as another user


def override_of(rows: Rows, edge: str) -> dict[str, Any]:
    """The overrides of this edge; empty if there are none."""
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

"""The record of one fault: what was commanded, when it took effect and ended, how often it hit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """The one form in which services, supervisor and fault proxy report a fault.

    Its fields are the columns of the archive's `faults` table (docs/archive.md). Times are seconds since the
    epoch, None until they happen. `evidence` holds the injector's own observations; it decides nothing.
    """

    fault_id: str
    kind: str
    target: str  # an instance, a server or an edge
    point: str
    scope: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    ttl_s: float | None = None
    commanded_s: float | None = None
    effective_s: float | None = None
    removed_s: float | None = None
    hits: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """The row of the table, which is also the JSON form in logs and APIs."""
        return {name: getattr(self, name) for name in COLUMNS}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> FaultRecord:
        """Reads `to_row`'s form, also with JSON text for objects and with columns missing or null."""
        known = {name: row[name] for name in COLUMNS if row.get(name) is not None}
        known |= {name: _object(known[name]) for name in OBJECTS if name in known}
        return cls(**{"kind": "", "target": "", "point": "", **known})

    @property
    def lasted_s(self) -> float:
        """Seconds from the command to the removal; NaN while one of them is missing."""
        if self.commanded_s is None or self.removed_s is None:
            return math.nan
        return self.removed_s - self.commanded_s


COLUMNS = tuple(each.name for each in fields(FaultRecord))
OBJECTS = ("scope", "attributes", "evidence")


def _object(value: Any) -> dict[str, Any]:
    """A damaged or foreign value reads as an empty object."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}

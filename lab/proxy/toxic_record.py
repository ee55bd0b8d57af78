"""What one fault did: when it was commanded, took effect and went, and what it affected."""

import time
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Record:
    """Instants are Unix seconds; a hit is one chunk or one close that the fault changed.

    `connections` counts connections (one direction each) that the fault was drawn for, `spared`
    those its toxicity let off, `affected` those it really affected (an outage: cut off), `bytes` of its hits.
    `fault_id` and `kind` are the commander's own words: several toxics may be one fault to him.
    """

    commanded_at: float
    fault_id: str = ""
    kind: str = ""
    effective_at: float | None = None
    expires_at: float | None = None
    removed_at: float | None = None
    removed_by: str | None = None
    first_hit_at: float | None = None
    last_hit_at: float | None = None
    connections: int = 0
    spared: int = 0
    affected: int = 0
    hits: int = 0
    bytes: int = 0

    def hit(self, size: int) -> None:
        self.hits += 1
        self.bytes += size
        self.last_hit_at = time.time()
        if self.first_hit_at is None:
            self.first_hit_at = self.last_hit_at

    def removed(self, by: str) -> None:
        self.removed_at = time.time()
        self.removed_by = by

    def view(self) -> dict[str, Any]:
        return asdict(self)

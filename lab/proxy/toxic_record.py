"""The times and counters of one toxic or outage."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from chassis.fault_record import FaultRecord

EVIDENCE = ("first_hit_s", "last_hit_s", "connections", "affected", "bytes", "removed_by")


@dataclass(slots=True)
class Record:
    """Times are Unix seconds; a hit is one chunk or one close that the fault changed.

    `connections` counts connections (one direction each) for which the toxicity was drawn, `spared` those that
    it left out, `affected` those that were really changed (in an outage: cut off), `bytes` the size of the hits.
    `fault_id` and `kind` are the commander's: several toxics may be parts of one fault.
    """

    commanded_s: float
    fault_id: str = ""
    kind: str = ""
    effective_s: float | None = None
    expires_s: float | None = None
    removed_s: float | None = None
    removed_by: str | None = None
    first_hit_s: float | None = None
    last_hit_s: float | None = None
    connections: int = 0
    spared: int = 0
    affected: int = 0
    hits: int = 0
    bytes: int = 0

    def hit(self, size: int) -> None:
        self.hits += 1
        self.bytes += size
        self.last_hit_s = time.time()
        if self.first_hit_s is None:
            self.first_hit_s = self.last_hit_s

    def removed(self, by: str) -> None:
        self.removed_s = time.time()
        self.removed_by = by

    def view(self) -> dict[str, Any]:
        return asdict(self)


def fault_record(edge: str, record: dict[str, Any], **described: Any) -> FaultRecord:
    """`record` is a view; `described` gives the fault's scope, attributes, seed and ttl_s."""
    evidence = {"counted_by": "proxy", **{name: record[name] for name in EVIDENCE}}
    about = {"target": edge, "point": "edge", "evidence": evidence}
    return FaultRecord.from_row({**record, **about, **described})

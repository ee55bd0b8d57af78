"""One armed fault in a process: its scope, its times and its counters."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chassis.fault_record import FaultRecord
from chassis.faults.fault import Fault
from chassis.faults.scope import Scope

SPEC_FIELDS = ("fault_id", "kind", "attributes", "point", "scope", "ttl_s", "seed")


@dataclass
class ActiveFault:
    """Times are seconds since the epoch, None until they happen. `removed` is set after the removal."""

    id: str
    target: str  # the instance
    fault: Fault
    point: str
    scope: Scope
    attributes: dict[str, Any]
    seed: int
    ttl_s: float
    commanded_s: float
    rng: Random
    effective_s: float | None = None
    removed_s: float | None = None
    hits: int = 0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    holder: asyncio.Task[None] | None = field(default=None, repr=False)
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    removed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def expires_s(self) -> float:
        return self.commanded_s + self.ttl_s

    @property
    def record(self) -> FaultRecord:
        return FaultRecord(
            self.id, self.fault.kind, self.target, self.point, self.scope.keys, self.attributes, self.seed,
            self.ttl_s, self.commanded_s, self.effective_s, self.removed_s, self.hits,
            {"counted_by": self.target, "seen": self.scope.seen},
        )  # fmt: skip

    def spec(self) -> dict[str, Any]:
        """The command that armed it, to arm it again."""
        row = self.record.to_row()
        return {name: row[name] for name in SPEC_FIELDS}

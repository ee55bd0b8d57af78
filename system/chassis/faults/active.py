"""One commanded fault: what it is, whom it hits, and when it was commanded, effective and removed."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chassis.faults.scope import Scope


@dataclass
class ActiveFault:
    """Times are seconds since the epoch, None until they happen. `gone` is set once all is undone."""

    id: str
    fault: Any
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
    gone: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def expires_s(self) -> float:
        return self.commanded_s + self.ttl_s

    def view(self) -> dict[str, Any]:
        return {
            "id": self.id, "kind": self.fault.kind, "point": self.point, "scope": self.scope.keys,
            "attributes": self.attributes, "seed": self.seed, "ttl_s": self.ttl_s,
            "commanded_s": self.commanded_s, "effective_s": self.effective_s,
            "removed_s": self.removed_s, "hits": self.hits, "seen": self.scope.seen,
        }  # fmt: skip

    def spec(self) -> dict[str, Any]:
        """As it was asked for, to ask for it again."""
        return {
            "id": self.id, "kind": self.fault.kind, "point": self.point, "scope": self.scope.keys,
            "attributes": self.attributes, "seed": self.seed, "ttl_s": self.ttl_s,
        }  # fmt: skip

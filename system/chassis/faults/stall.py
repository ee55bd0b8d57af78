"""stall: what passes hangs until the fault ends: a hung handler, a stuck statement, a stalled consumer."""

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import EXCHANGES, Proceed


@dataclass(frozen=True)
class Stall:
    """Callers see their own timeouts; whoever still waits at the end goes on then."""

    kind: ClassVar[str] = "stall"
    doc: ClassVar[str] = "each exchange hangs until the fault ends, then goes on"
    points: ClassVar[tuple[str, ...]] = EXCHANGES

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        await proceed.ended.wait()
        return await proceed()

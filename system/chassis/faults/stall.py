"""stall: a handler, a statement or a consumer hangs until the fault ends."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import EXCHANGES, Fault, Proceed


@dataclass(frozen=True)
class Stall(Fault):
    """Callers see their own timeouts; exchanges that still wait at the end continue then."""

    kind = "stall"
    doc = "each exchange hangs until the fault ends, then continues"
    points = EXCHANGES

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        await proceed.ended.wait()
        return await proceed()

"""noop: does nothing; the example to copy, and the control for the cost of a hook."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import EXCHANGES, Fault, Proceed


@dataclass(frozen=True)
class Noop(Fault):
    kind = "noop"
    doc = "changes nothing"
    points = EXCHANGES

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        return await proceed()

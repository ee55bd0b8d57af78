"""noop: does nothing; the example to copy, and the control that shows what a hook costs."""

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import EXCHANGES, Proceed


@dataclass(frozen=True)
class Noop:
    kind: ClassVar[str] = "noop"
    doc: ClassVar[str] = "lets everything pass"
    points: ClassVar[tuple[str, ...]] = EXCHANGES

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        return await proceed()

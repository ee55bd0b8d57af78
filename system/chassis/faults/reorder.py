"""reorder: returns a message to the broker, which delivers it again after later messages."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from chassis.faults.fault import Fault, PostponedError, Proceed


@dataclass(frozen=True)
class Reorder(Fault):
    """Each message is returned once. None is lost, even if a process dies in that time."""

    kind = "reorder"
    doc = "a message is delivered again after back_ms; later messages overtake it"
    points = ("consume",)
    back_ms: float = 500.0
    _sent_back: set[str] = field(default_factory=set, init=False, repr=False)

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        key = proceed.exchange.key
        if key in self._sent_back:
            return await proceed()
        self._sent_back.add(key)
        raise PostponedError(self.back_ms / 1000)

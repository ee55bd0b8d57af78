"""reorder: a message goes back to the broker and comes again later, after others that were behind it."""

from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import Postponed, Proceed


@dataclass(frozen=True)
class Reorder:
    """A message is sent back once; nothing is lost, whoever dies meanwhile."""

    kind: ClassVar[str] = "reorder"
    doc: ClassVar[str] = "a message comes again after back_ms; those behind it overtake it"
    points: ClassVar[tuple[str, ...]] = ("consume",)
    back_ms: float = 500.0
    _sent_back: set[str] = field(default_factory=set, init=False, repr=False)

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        key = proceed.exchange.key
        if key in self._sent_back:
            return await proceed()
        self._sent_back.add(key)
        raise Postponed(self.back_ms / 1000)

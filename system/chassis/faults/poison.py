"""poison: a message that cannot be handled at any delivery."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, PoisonedError, Proceed

GARBAGE = b"\xff poison"


@dataclass(frozen=True)
class Poison(Fault):
    """consume: handling fails at each delivery. publish: the payload is garbage for all consumers."""

    kind = "poison"
    doc = "consume: handling the message fails at every delivery; publish: its payload is garbage"
    points = ("consume", "publish")
    sticky = True  # a chosen message is chosen at every delivery

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        if proceed.exchange.point == "consume":
            raise PoisonedError(f"message {proceed.exchange.key} is poisoned")
        proceed.exchange.changes.append(lambda content: GARBAGE)
        return await proceed()

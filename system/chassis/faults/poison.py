"""poison: a message that cannot be handled, however often it is delivered."""

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import Poisoned, Proceed

GARBAGE = b"\xff poison"


@dataclass(frozen=True)
class Poison:
    """consume: handling fails at each delivery. publish: the payload is garbage for all consumers."""

    kind: ClassVar[str] = "poison"
    doc: ClassVar[str] = (
        "consume: handling the message fails at every delivery; publish: its payload is garbage"
    )
    points: ClassVar[tuple[str, ...]] = ("consume", "publish")
    sticky: ClassVar[bool] = True  # a message that is chosen is chosen at every delivery

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        if proceed.exchange.point == "consume":
            raise Poisoned(f"message {proceed.exchange.key} is poisoned")
        proceed.exchange.changes.append(lambda content: GARBAGE)
        return await proceed()

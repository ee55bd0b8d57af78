"""corrupt: flips bits of a payload or of an answer's body; the length stays."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, FaultError, Proceed


@dataclass(frozen=True)
class Corrupt(Fault):
    """Each of `flips` places is drawn from the seed; one bit of that byte changes."""

    kind = "corrupt"
    doc = "`flips` bits of the answer's body or the message's payload are flipped"
    points = ("inbound", "outbound", "publish", "consume")
    flips: int = 1

    def __post_init__(self) -> None:
        if self.flips < 1:
            raise FaultError(f"corrupt.flips: expected 1 or more, got {self.flips}")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        def flipped(content: bytes) -> bytes:
            changed = bytearray(content)
            # without replacement: two flips of one bit would be no flip
            bits = rng.sample(range(8 * len(changed)), min(int(self.flips), 8 * len(changed)))
            for bit in bits:
                changed[bit // 8] ^= 1 << bit % 8
            return bytes(changed)

        proceed.exchange.changes.append(flipped)
        return await proceed()

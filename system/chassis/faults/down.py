"""down: from this process the database, broker, cache or registry cannot be reached."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, Proceed


@dataclass(frozen=True)
class Down(Fault):
    """The hook raises what its driver raises when the connection is lost; nothing is sent."""

    kind = "down"
    doc = "each operation fails as if the other side were unreachable"
    points = ("database", "publish", "cache", "registry")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        await proceed.exchange.fail("down")

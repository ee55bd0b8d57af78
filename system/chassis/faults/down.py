"""down: from this process the database, broker, cache or registry cannot be reached."""

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import Proceed


@dataclass(frozen=True)
class Down:
    """The hook raises what its driver raises when the connection is lost; nothing is sent."""

    kind: ClassVar[str] = "down"
    doc: ClassVar[str] = "what is asked fails as if the other side were unreachable"
    points: ClassVar[tuple[str, ...]] = ("database", "publish", "cache", "registry")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        await proceed.exchange.fail("down")

"""drop: swallowed without a word: a lost message, heartbeat or invalidation."""

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import DROPPED, Proceed


@dataclass(frozen=True)
class Drop:
    """Nobody is told, so nobody tries again. The point says what is lost:

    publish   the event never reaches the broker, though the outbox thinks so
    consume   the event is taken off the stream without effect
    cache     GET: a miss; SET: not kept; DELETE: the old value stays, stale
    registry  HEARTBEAT: the lease runs out; WATCH: changes are not seen, the view goes stale
    """

    kind: ClassVar[str] = "drop"
    doc: ClassVar[str] = (
        "swallowed without a word: messages; at the cache a DELETE (stale value) or GET (miss); "
        "at the registry a HEARTBEAT or WATCH (stale view)"
    )
    points: ClassVar[tuple[str, ...]] = ("publish", "consume", "cache", "registry")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        return DROPPED

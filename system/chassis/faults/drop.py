"""drop: a message, heartbeat or invalidation is lost without an error."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import DROPPED, Fault, Proceed


@dataclass(frozen=True)
class Drop(Fault):
    """No error is raised, so nothing is retried. What is lost depends on the point:

    publish   the event never reaches the broker, but the outbox marks it as published
    consume   the event is taken off the stream without effect
    cache     GET: a miss; SET: not stored; DELETE: the old value stays and is stale
    registry  HEARTBEAT: the lease runs out; WATCH: changes are not seen, the view goes stale
    """

    kind = "drop"
    doc = (
        "lost without an error: messages; at the cache a DELETE (stale value) or GET (miss); "
        "at the registry a HEARTBEAT or WATCH (stale view)"
    )
    points = ("publish", "consume", "cache", "registry")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        return DROPPED

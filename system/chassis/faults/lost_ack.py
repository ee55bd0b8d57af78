"""lost_ack: the work is done but not acknowledged: it may be repeated."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, Proceed


@dataclass(frozen=True)
class LostAck(Fault):
    """publish: stored, no answer. consume: handled, not acknowledged. database: done, connection lost."""

    kind = "lost_ack"
    doc = "done, but the acknowledgement is lost; at the database mostly with method=WITH or COMMIT"
    points = ("consume", "publish", "database")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        return await proceed(discard=True)

"""lost_ack: it was done, and the other side does not hear of it: the work may come twice."""

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import Proceed


@dataclass(frozen=True)
class LostAck:
    """publish: stored, no answer. consume: handled, not acknowledged. database: done, connection lost."""

    kind: ClassVar[str] = "lost_ack"
    doc: ClassVar[str] = (
        "done, but the acknowledgement is lost; at the database, method=COMMIT is the classic"
    )
    points: ClassVar[tuple[str, ...]] = ("consume", "publish", "database")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        return await proceed(discard=True)

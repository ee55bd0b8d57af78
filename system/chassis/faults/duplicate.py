"""duplicate: sends twice: a message under two ids, or a request as a network may repeat it."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, Proceed

MESSAGE_ID = "Nats-Msg-Id"


@dataclass(frozen=True)
class Duplicate(Fault):
    """The second copy has another broker id, or the broker would drop it; the event's id is the same."""

    kind = "duplicate"
    doc = "sent twice, the second answer counts; scope.share sets how often"
    points = ("publish", "outbound")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        await proceed()
        headers = proceed.exchange.headers
        if MESSAGE_ID in headers:
            headers[MESSAGE_ID] += f"-again-{rng.getrandbits(32):08x}"
        return await proceed()

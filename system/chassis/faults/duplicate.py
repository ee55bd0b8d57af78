"""duplicate: sent twice: a message under two ids, or a request as a network may repeat it."""

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import Proceed

MESSAGE_ID = "Nats-Msg-Id"


@dataclass(frozen=True)
class Duplicate:
    """A message's second copy has another broker id, or the broker would drop it; the event's id stays."""

    kind: ClassVar[str] = "duplicate"
    doc: ClassVar[str] = "sent twice, the second answer counts; scope.share says how often"
    points: ClassVar[tuple[str, ...]] = ("publish", "outbound")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        await proceed()
        headers = proceed.exchange.headers
        if MESSAGE_ID in headers:
            headers[MESSAGE_ID] += f"-again-{rng.getrandbits(32):08x}"
        return await proceed()

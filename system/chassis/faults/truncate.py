"""truncate: the answer announces its full length, sends a part of it, and the connection closes."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, Proceed


@dataclass(frozen=True)
class Truncate(Fault):
    kind = "truncate"
    doc = "only the first `keep_bytes` of the answer's body are sent, then the connection closes"
    points = ("inbound",)
    keep_bytes: int = 0

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        proceed.exchange.changes.append(lambda content: content[: int(self.keep_bytes)])
        return await proceed()

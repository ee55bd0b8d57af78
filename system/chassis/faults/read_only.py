"""read_only: the database refuses writes from this process, as on a standby or after a failover."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, Proceed


@dataclass(frozen=True)
class ReadOnly(Fault):
    """Affects new transactions and single statements; a transaction in progress may still write."""

    kind = "read_only"
    doc = "transactions are read only: the server refuses writes with 25006"
    points = ("database",)

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        proceed.exchange.read_only = True
        return await proceed()

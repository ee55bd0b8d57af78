"""read_only: the database takes no writes from this process, as on a standby or after a failover."""

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import Proceed


@dataclass(frozen=True)
class ReadOnly:
    """Transactions that begin and single statements; a transaction that is under way may still write."""

    kind: ClassVar[str] = "read_only"
    doc: ClassVar[str] = "transactions are read only: the server refuses writes with 25006"
    points: ClassVar[tuple[str, ...]] = ("database",)

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        proceed.exchange.read_only = True
        return await proceed()

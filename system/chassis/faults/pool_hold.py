"""pool_hold: a part of the connection pool is lent out and not given back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from chassis.faults.fault import PROCESS, FaultError
from chassis.faults.host import Tenure

WAIT_S = 3.0


@dataclass(frozen=True)
class PoolHold:
    """Waits in the pool's own line, so a busy pool is drained as its users give back."""

    kind: ClassVar[str] = "pool_hold"
    doc: ClassVar[str] = "`connections` of the database pool are held"
    points: ClassVar[tuple[str, ...]] = (PROCESS,)
    connections: int

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise FaultError(f"pool_hold.connections: expected 1 or more, got {self.connections}")

    @asynccontextmanager
    async def hold(self, tenure: Tenure) -> AsyncIterator[None]:
        if not tenure.host.pools:
            raise FaultError("pool_hold: this service has no database")
        pool = tenure.host.pools[0]
        if self.connections > pool.get_max_size():
            raise FaultError(
                f"pool_hold.connections: the pool has {pool.get_max_size()}, not {self.connections}"
            )
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(WAIT_S):
                    for _ in range(int(self.connections)):
                        await held.enter_async_context(pool.acquire())
            except TimeoutError:
                raise FaultError(
                    f"pool_hold: fewer than {self.connections} connections came free"
                    f" in {WAIT_S:g} s"
                ) from None
            for _ in range(int(self.connections)):
                tenure.hit()
            yield

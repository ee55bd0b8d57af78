"""pool_hold: takes connections from the pool and does not return them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from chassis.faults.fault import PROCESS, Fault, FaultError
from chassis.faults.host import Holding

WAIT_S = 3.0


@dataclass(frozen=True)
class PoolHold(Fault):
    """Waits in the pool's queue: a busy pool is drained as its users return connections."""

    kind = "pool_hold"
    doc = "`connections` of the database pool are held"
    points = (PROCESS,)
    connections: int

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise FaultError(f"pool_hold.connections: expected 1 or more, got {self.connections}")

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        if not holding.host.pools:
            raise FaultError("pool_hold: this service has no database")
        pool = holding.host.pools[0]
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
                    f"pool_hold: fewer than {self.connections} connections became free"
                    f" in {WAIT_S:g} s"
                ) from None
            for _ in range(int(self.connections)):
                holding.hit()
            yield

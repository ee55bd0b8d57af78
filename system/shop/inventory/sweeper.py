"""Expires reservations that were neither committed nor released in time."""

from chassis.clock import Clock
from chassis.telemetry.metrics import counter, expose, gauge
from shop.inventory.store import StockStore

HELD = gauge("reservations_held", "Reservations that hold goods")
EXPIRED = counter("reservations_expired", "Reservations that expired")
BATCH = 100


class Sweeper:
    """Sweeps every `period_s` seconds. Several sweepers may run at the same time."""

    def __init__(self, store: StockStore, clock: Clock, *, period_s: float) -> None:
        self._store = store
        self._clock = clock
        self._period_s = period_s

    async def run(self) -> None:
        expose(HELD, EXPIRED)
        while True:
            EXPIRED.inc(await self.sweep())
            HELD.set(await self._store.held())
            await self._clock.sleep(self._period_s)

    async def sweep(self) -> int:
        """Expire all that are due, one batch per transaction; returns how many there were."""
        total = 0
        while True:
            expired = await self._store.expire(now=self._clock.now(), limit=BATCH)
            total += expired
            if expired < BATCH:
                return total

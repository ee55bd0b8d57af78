"""asyncpg's pool that also tells how long connections are waited for, and held: in metrics and traces."""

import asyncio
import time
from typing import Any

import asyncpg

from chassis.telemetry import signals
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import expose, gauge

ROTATE_S = 1.0
_SERVER = {"peer.service": "postgres", "db.system.name": "postgresql"}
IN_USE = gauge("db_pool_in_use", "Connections of the pool that are lent out")
SIZE = gauge("db_pool_size", "Connections of the pool")
SIZE_MAX = gauge("db_pool_size_max", "Connections that the pool may have")
WAITING = gauge("db_pool_waiting", "Who waits for a connection")
ACQUIRE_SECONDS = Histogram("db_pool_acquire_seconds", "Wait for a connection")
HOLD_SECONDS = Histogram("db_pool_hold_seconds", "From lent out to given back")


class MeasuredPool(asyncpg.Pool):
    """One a process: a second one would be counted into the same series."""

    __slots__ = ("_held", "_waiting")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting = 0
        self._held: dict[int, tuple[float, signals.StoreSpan | None]] = {}
        IN_USE.set_function(lambda: len(self._held))
        SIZE.set_function(self.get_size)
        SIZE_MAX.set_function(self.get_max_size)
        WAITING.set_function(lambda: self._waiting)
        expose(IN_USE, SIZE, SIZE_MAX, WAITING, ACQUIRE_SECONDS, HOLD_SECONDS)

    async def _acquire(self, timeout: float | None) -> Any:
        asked = time.perf_counter()
        # one span a use, wait included, not one a statement: an order has seventy of those
        span = signals.store_span("postgres", _SERVER)
        self._waiting += 1
        try:
            connection = await super()._acquire(timeout)  # type: ignore[misc]
        except BaseException:
            signals.end_span(span, failed=True)
            raise
        finally:
            self._waiting -= 1
        got = time.perf_counter()
        self._held[id(connection)] = (got, span)
        ACQUIRE_SECONDS.observe(got - asked)
        return connection

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        held = self._held.pop(id(connection), None)
        if held is not None:
            since, span = held
            HOLD_SECONDS.observe(time.perf_counter() - since)
            signals.end_span(span)
        await super().release(connection, timeout=timeout)

    async def rotate_idle(self) -> None:
        """For ever: of as many idle connections as the pool keeps, lend the one that has rested longest.

        asyncpg lends the one that came back last. In calm times that is always the same, and the others meet a
        burst with every statement still to be prepared.
        """
        while True:
            await asyncio.sleep(ROTATE_S)
            size = self.get_min_size()
            if self.get_idle_size() >= size:
                # all at once, and back in the order they came in: the last of them is on top then;
                # by asyncpg's own methods, for this is no use of them that anybody should see
                lend, give_back = asyncpg.Pool._acquire, asyncpg.Pool.release  # type: ignore[attr-defined]
                lent = [await lend(self, None) for _ in range(size)]
                # one that was lost meanwhile is closed by asyncpg and must not keep the others
                await asyncio.gather(
                    *(give_back(self, each) for each in lent), return_exceptions=True
                )

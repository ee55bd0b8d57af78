"""An asyncpg pool that measures the wait for connections and their use, in metrics and traces."""

import asyncio
import time
from typing import Any

import asyncpg

from chassis.background import until_beat_s
from chassis.telemetry import signals
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import expose, gauge

ROTATE_S = 1.0
_SERVER = {"peer.service": "postgres", "db.system.name": "postgresql"}
IN_USE = gauge("db_pool_in_use", "Connections in use")
SIZE = gauge("db_pool_size", "Open connections")
SIZE_MAX = gauge("db_pool_size_max", "Maximum number of connections")
WAITING = gauge("db_pool_waiting", "Requests waiting for a connection")
ACQUIRE_SECONDS = Histogram("db_pool_acquire_seconds", "Time waiting for a connection")
HOLD_SECONDS = Histogram("db_pool_hold_seconds", "Time a connection is in use")


class MeasuredPool(asyncpg.Pool):
    """One per process: a second pool would count into the same series."""

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
        started = time.perf_counter()
        # one span per use including the wait, not one per statement: an order has seventy statements
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
        ACQUIRE_SECONDS.observe(got - started)
        return connection

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        held = self._held.pop(id(connection), None)
        if held is not None:
            since, span = held
            HOLD_SECONDS.observe(time.perf_counter() - since)
            signals.end_span(span)
        await super().release(connection, timeout=timeout)

    async def rotate_idle(self) -> None:
        """Put the connection that is idle longest on top of the pool, each second, until cancelled.

        asyncpg uses the connection that was released last. Under low load that is always the same one, and the
        others would have to prepare every statement in the next burst.
        """
        while True:
            await asyncio.sleep(until_beat_s(ROTATE_S))
            size = self.get_min_size()
            if self.get_idle_size() >= size:
                # take all and release them in the same order: the last one is then on top. By asyncpg's
                # own methods, so that no metric counts it as a use
                acquire, release = asyncpg.Pool._acquire, asyncpg.Pool.release  # type: ignore[attr-defined]
                taken = [await acquire(self, None) for _ in range(size)]
                # a connection lost meanwhile is closed by asyncpg and must not keep the others
                await asyncio.gather(
                    *(release(self, each) for each in taken), return_exceptions=True
                )

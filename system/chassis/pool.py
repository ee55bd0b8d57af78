"""asyncpg's pool that also tells how long connections are waited for, and held."""

import time
from typing import Any

import asyncpg

from chassis.histogram import Histogram
from chassis.metrics import expose, gauge

IN_USE = gauge("db_pool_in_use", "Connections of the pool that are lent out")
SIZE = gauge("db_pool_size", "Connections of the pool")
SIZE_MAX = gauge("db_pool_size_max", "Connections that the pool may have")
WAITING = gauge("db_pool_waiting", "Who waits for a connection")
ACQUIRE_SECONDS = Histogram("db_pool_acquire_seconds", "Wait for a connection")
HOLD_SECONDS = Histogram("db_pool_hold_seconds", "From lent out to given back")


class MeasuredPool(asyncpg.Pool):
    """One a process: a second one would be counted into the same series."""

    __slots__ = ("_held_since", "_waiting")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting = 0
        self._held_since: dict[int, float] = {}
        IN_USE.set_function(lambda: self.get_size() - self.get_idle_size())
        SIZE.set_function(self.get_size)
        SIZE_MAX.set_function(self.get_max_size)
        WAITING.set_function(lambda: self._waiting)
        expose(IN_USE, SIZE, SIZE_MAX, WAITING, ACQUIRE_SECONDS, HOLD_SECONDS)

    async def _acquire(self, timeout: float | None) -> Any:
        asked = time.perf_counter()
        self._waiting += 1
        try:
            connection = await super()._acquire(timeout)  # type: ignore[misc]
        finally:
            self._waiting -= 1
        got = time.perf_counter()
        self._held_since[id(connection)] = got
        ACQUIRE_SECONDS.observe(got - asked)
        return connection

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        since = self._held_since.pop(id(connection), None)
        if since is not None:
            HOLD_SECONDS.observe(time.perf_counter() - since)
        await super().release(connection, timeout=timeout)

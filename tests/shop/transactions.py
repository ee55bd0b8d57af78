"""Races of two transactions on the real PostgreSQL: the first stays open until the second waits for it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from asyncpg import Pool

from chassis.postgres.connection import Conn
from tests.fixtures.waiting import wait_until_async

T = TypeVar("T")
_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


class InTransaction:
    """In a store's place of the pool: its operations become part of the connection's transaction."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Conn]:
        yield self._conn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


@asynccontextmanager
async def uncommitted(pool: Pool) -> AsyncIterator[Pool]:
    """The operations of a store with this pool are committed at the end of the block."""
    async with pool.acquire() as conn, conn.transaction():
        yield cast(Pool, InTransaction(conn))


async def started_and_waiting(pool: Pool, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """The task of `work`, once it waits for a lock of another transaction."""
    before: int = await pool.fetchval(_WAITING)
    task = asyncio.create_task(work)

    async def waits() -> bool:
        assert not task.done(), "it did not wait"
        return bool(await pool.fetchval(_WAITING) > before)

    await wait_until_async(waits, "it waits for a lock")
    return task

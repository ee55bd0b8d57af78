"""Connections for operations of one statement: atomic by itself, without BEGIN and COMMIT."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncpg import Pool

from chassis.faults import armed_at
from chassis.postgres.connection import Conn


@asynccontextmanager
async def one_statement(pool: Pool) -> AsyncIterator[Conn]:
    """A connection for one statement that writes, and for reads that follow from its result.

    BEGIN and COMMIT would be two round trips without an effect. They are sent while a fault is armed that can act
    between the statement and its commit: at a failpoint or on COMMIT.
    """
    async with pool.acquire() as conn:
        if armed_at("failpoint", "database"):
            async with conn.transaction():
                yield conn
        else:
            yield conn

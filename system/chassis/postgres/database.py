"""A service's own PostgreSQL database: its connection pool and its schema."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import asyncpg

from chassis.postgres.connection import STATEMENT_S, Conn, Connection
from chassis.postgres.pool import MeasuredPool
from chassis.telemetry import signals

log = logging.getLogger("chassis.postgres.database")
CONNECT_S = 30.0
# Open connections, so that a burst does not wait for new ones (15 to 20 ms of CPU each, with prepared statements).
# They are closed when idle too long: the next use of a connection whose server is gone waits STATEMENT_S.
POOL_SIZE_MIN = 4
IDLE_S = 300.0
CHASSIS_SCHEMA = Path(__file__).with_name("schema.sql")

Pool = asyncpg.Pool
Seed = Callable[[Conn], Awaitable[None]]
# A store that cannot write is not ready.
# The new file and its page need space on the disk; a row in an old page may not.
CHECK_WRITES = "TRUNCATE readiness; INSERT INTO readiness VALUES (now())"
UNREACHABLE = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


async def open_pool(url: str, *, size_max: int, clock_s: Callable[[], float]) -> MeasuredPool:
    """A pool on `url`. Retries for up to 30 s while the server starts, then raises the last error."""
    give_up = clock_s() + CONNECT_S
    while True:
        try:
            pool = await MeasuredPool(
                url,
                min_size=min(POOL_SIZE_MIN, size_max),
                max_size=size_max,
                max_queries=50_000,
                loop=None,
                record_class=asyncpg.Record,
                timeout=2,
                command_timeout=STATEMENT_S,
                max_inactive_connection_lifetime=IDLE_S,
                # the data is in memory: reading a row by an index is cheaper than reading the table
                server_settings={"jit": "off", "random_page_cost": "1.1"},
                init=_count_connection,
                reset=_no_reset,
                connection_class=Connection,
            )
        except UNREACHABLE as error:
            if clock_s() > give_up:
                raise
            log.info("waiting for the database: %s", error)
            await asyncio.sleep(0.1)
        else:
            return pool


async def _count_connection(_: object) -> None:
    signals.CONNECTIONS.labels("postgres").inc()


async def _no_reset(_: object) -> None:
    """Do nothing at a release: all settings are local to a transaction, so no round trip is needed."""


async def close_pool(pool: asyncpg.Pool) -> None:
    """Close within one second, after the queries in flight; a dead database must not delay the exit."""
    with suppress(TimeoutError):
        await asyncio.wait_for(pool.close(), 1)
        return
    pool.terminate()


async def apply_schema(pool: asyncpg.Pool, schema: Path | None, seed: Seed | None) -> None:
    """Create missing tables, then run `seed`; one instance at a time, in one transaction.

    Raises FileNotFoundError if the schema file does not exist.
    """
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('schema'))")
        await conn.execute("SET LOCAL client_min_messages = warning")
        await conn.execute(CHASSIS_SCHEMA.read_text())
        if schema is not None:
            await conn.execute(schema.read_text())  # noqa: ASYNC240 - at start-up, a few kB
        if seed is not None:
            await seed(conn)

"""A service's own PostgreSQL database: the pool, the schema, and waiting for it at start-up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from chassis.http.idempotency import Conn
from chassis.postgres.connection import STATEMENT_S, Connection
from chassis.postgres.pool import MeasuredPool

log = logging.getLogger("chassis.postgres.database")
CONNECT_S = 30.0
# A burst does not wait for connections to be opened, 15 to 20 ms of CPU each with the statements prepared
# on it. One that lost its server without a word is found out by its next user, who waits STATEMENT_S for it: so
# none is kept for ever.
POOL_SIZE_MIN = 4
IDLE_S = 300.0
CHASSIS_SCHEMA = Path(__file__).with_name("schema.sql")

Pool = asyncpg.Pool
Seed = Callable[[Conn], Awaitable[None]]
UNREACHABLE = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


async def open_pool(url: str, *, size_max: int, clock_s: Callable[[], float]) -> MeasuredPool:
    """A pool on `url`, waited for up to 30 s while the server starts. Raises the last error."""
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
                server_settings={"jit": "off"},
                reset=_keep,
                connection_class=Connection,
            )
        except UNREACHABLE as error:
            if clock_s() > give_up:
                raise
            log.info("waiting for the database: %s", error)
            await asyncio.sleep(0.1)
        else:
            return pool


async def _keep(_: object) -> None:
    """Nothing to undo: all that we set is local to a transaction, so a release needs no round trip."""


async def apply_schema(pool: asyncpg.Pool, schema: Path | None, seed: Seed | None) -> None:
    """Create what is missing, then seed; one instance at a time, all in one transaction.

    Raises FileNotFoundError where a service that has a database has no schema.
    """
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('schema'))")
        await conn.execute("SET LOCAL client_min_messages = warning")
        await conn.execute(CHASSIS_SCHEMA.read_text())
        if schema is not None:
            await conn.execute(schema.read_text())  # noqa: ASYNC240 - at start-up, a few kB
        if seed is not None:
            await seed(conn)


def execute_count(tag: str) -> int:
    """The row count in a command tag: `UPDATE 3` -> 3."""
    count: Any = tag.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0

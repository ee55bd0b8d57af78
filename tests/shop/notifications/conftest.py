"""A pool on a fresh database with the schema of notifications."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from asyncpg import Pool

from chassis.clock import SystemClock
from chassis.postgres.database import apply_schema, open_pool
from shop import notifications


@pytest.fixture
async def pool(database: Callable[[str], str]) -> AsyncIterator[Pool]:
    pool = await open_pool(database("notifications"), size_max=10, clock_s=SystemClock().monotonic)
    try:
        await apply_schema(pool, Path(notifications.__file__).with_name("schema.sql"), None)
        yield pool
    finally:
        pool.terminate()
